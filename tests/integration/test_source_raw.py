"""The raw topic as a source: what is retained, of the symbols and times that were asked for, by any schema."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from coordinator.chunks import ShardJob
from coordinator.source import SourceBatch, SourceContext, SourceError, open_source
from coordinator.sources.raw import RawSource
from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.contract import Contract
from streams import topics
from streams.clients import producer_config
from streams.errors import BrokerError, RegistryError
from streams.partitioning import partition_of
from tests.support.bars import MINUTE, START, RawRecord, good_bar
from tests.support.shard_jobs import cursor_of, one_chunk, shard_of
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

PARTITIONS = 4


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    return make_world(stack, world, tmp_path)


def context(world: World) -> SourceContext:
    contract = Contract.parse(world.contract_schema.schema)
    return SourceContext(world.settings, DATASET, world.settings.dataset(DATASET), contract, world.registry)


def record(world: World, symbol: str, minute: int, price: float = 100.0) -> RawRecord:
    codec = ReferenceCodec(parse_record(world.raw_schema.schema), world.raw_schema.id)
    return partition_of(symbol, PARTITIONS), symbol.encode(), codec.encode_one(good_bar(symbol, minute, price))


def fetch(source: RawSource, first: int, end: int, *symbols: str, cursor: str | None = None) -> list[SourceBatch]:
    return list(source.fetch(symbols, (START + first * MINUTE) * 1_000, (START + end * MINUTE) * 1_000, cursor))


def rows_of(batches: list[SourceBatch]) -> list[tuple[str, int]]:
    rows = [row for batch in batches for row in batch.rows.to_pylist()]
    return [(row["symbol"], (row["event_time"] - START) // MINUTE) for row in rows]


def test_records_of_the_symbols_and_times_come_from_their_partitions_alone(made: World) -> None:
    symbols = [f"S{i}" for i in range(8)]
    made.produce(record(made, s, m) for m in range(10) for s in symbols)
    source = RawSource(context(made))
    found = rows_of(fetch(source, 3, 6, "S1", "S4", "ABSENT"))
    assert sorted(found) == [(s, m) for s in ("S1", "S4") for m in (3, 4, 5)]
    mine = {partition_of(s, PARTITIONS) for s in ("S1", "S4")}
    held = sum(10 for s in symbols if partition_of(s, PARTITIONS) in mine)
    assert source.estimate(("S1", "S4"), 0, 1) == held


def test_every_cursor_goes_on_with_exactly_the_rows_that_are_left_up_to_the_end_of_then(made: World) -> None:
    symbols = [f"S{i}" for i in range(6)]
    made.produce(record(made, s, m) for m in range(20) for s in symbols)
    batches = fetch(RawSource(context(made), block=7), 0, 1_000, *symbols)
    assert sorted(rows_of(batches)) == sorted((s, m) for s in symbols for m in range(20))
    assert len(batches) > 15
    made.produce(record(made, s, 500) for s in symbols)
    for place in range(0, len(batches), 4):
        rest = fetch(RawSource(context(made), block=7), 0, 1_000, *symbols, cursor=batches[place].cursor)
        assert rest == batches[place + 1 :]
    assert len(rows_of(fetch(RawSource(context(made)), 0, 1_000, *symbols))) == 126


def test_records_of_several_schemas_come_in_batches_of_one_each_and_poison_is_left_out(made: World) -> None:
    other = copy.deepcopy(dict(made.raw_schema.schema))
    for field in other["fields"]:
        field["name"] = {"symbol": "Ticker", "event_time": "Date"}.get(field["name"], field["name"])
        field["aliases"] = []
    registered = made.registry.register(f"{made.name}.other-value", other)
    codec = ReferenceCodec(parse_record(other), registered.id)

    def renamed(minute: int) -> RawRecord:
        bar = good_bar("A", minute)
        value = codec.encode_one({**bar, "Ticker": bar["symbol"], "Date": bar["event_time"]})
        return partition_of("A", PARTITIONS), b"A", value

    poison: RawRecord = (partition_of("A", PARTITIONS), b"A", b"poison")
    tombstone: RawRecord = (partition_of("A", PARTITIONS), b"A", None)
    made.produce([record(made, "A", 0), renamed(1), poison, tombstone, record(made, "A", 2), renamed(3)])
    opened = open_source("raw:", context(made))
    assert isinstance(opened, RawSource)
    batches = fetch(opened, 0, 10, "A")
    assert [b.rows.num_rows for b in batches] == [2, 2]
    assert [b.schema.schema["fields"][0]["name"] for b in batches if b.schema is not None] == ["symbol", "Ticker"]
    rest = fetch(opened, 0, 10, "A", cursor=batches[0].cursor)
    assert rest == batches[1:]


def test_rows_pass_conformance_as_live_ones_do_and_become_records_of_history(made: World) -> None:
    made.produce([*(record(made, "A", m) for m in range(5)), record(made, "A", 5, price=-1.0)])
    job = ShardJob.prepare(made.settings, DATASET, made.registry)
    assert (job.history, job.contract_version) == (made.topic("history"), made.contract_schema.version)
    shard = shard_of(("A",), START * 1_000, (START + 9 * MINUTE) * 1_000, source="raw:")
    (batch,) = fetch(RawSource(context(made)), 0, 9, "A")
    chunk = one_chunk(job, shard, batch.rows, schema=batch.schema)
    codec = ReferenceCodec(parse_record(made.contract_schema.schema), made.contract_schema.id)
    assert [codec.decode_one(p) for p in chunk.payloads] == [good_bar("A", m) for m in range(5)]
    assert chunk.partitions == [partition_of("A", PARTITIONS)] * 5
    assert chunk.cursor.rejected == 1
    (refused,) = chunk.quarantined.payloads
    assert made.event_codec("quarantine", "quarantined_row").decode(refused)["topic"] == "backfill:raw:"
    assert cursor_of(shard).rows == 0


def test_records_of_a_transaction_that_was_aborted_are_not_there(made: World) -> None:
    made.produce([record(made, "A", 0)])
    producer = Producer(producer_config(made.settings, transactional_id=f"{made.name}.test"))
    producer.init_transactions(30)
    for minute, ended in ((1, producer.abort_transaction), (2, producer.commit_transaction)):
        producer.begin_transaction()
        partition, key, value = record(made, "A", minute)
        producer.produce(made.topic("raw"), value, key, partition)
        producer.flush(30)
        ended(30)
    assert rows_of(fetch(RawSource(context(made)), 0, 9, "A")) == [("A", 0), ("A", 2)]


def test_an_empty_topic_has_no_rows(made: World) -> None:
    source = RawSource(context(made))
    assert fetch(source, 0, 9, "A", "B") == []
    assert source.estimate(("A",), 0, 1) == 0


def test_records_that_retention_deleted_under_a_cursor_are_told_for_good(made: World) -> None:
    made.produce(record(made, "A", m) for m in range(20))
    batches = fetch(RawSource(context(made), block=5), 0, 100, "A")
    partition = partition_of("A", PARTITIONS)
    admin = AdminClient({"bootstrap.servers": made.settings.kafka.bootstrap_servers})
    deleted = admin.delete_records([TopicPartition(made.topic("raw"), partition, 12)])
    for future in deleted.values():
        future.result(30)
    with pytest.raises(SourceError, match="retention deleted records") as caught:
        fetch(RawSource(context(made), block=5), 0, 100, "A", cursor=batches[0].cursor)
    assert not caught.value.retryable
    assert [m for _, m in rows_of(fetch(RawSource(context(made)), 0, 100, "A"))] == list(range(12, 20))


def test_another_datasets_topic_is_refused(made: World) -> None:
    with pytest.raises(SourceError, match="its own raw topic"):
        open_source("raw:others", context(made))


def test_a_job_is_refused_where_history_has_other_partitions_or_the_contract_no_such_version(made: World) -> None:
    with pytest.raises(RegistryError, match="no version 9 of the contract"):
        ShardJob.prepare(made.settings, DATASET, made.registry, contract_version=9)
    wanted = made.settings.dataset(DATASET).model_copy(update={"partitions": 5})
    settings = made.settings.model_copy(update={"datasets": {DATASET: wanted}})
    with pytest.raises(BrokerError, match=f"{topics.history(made.name, DATASET)} has 4 partitions"):
        ShardJob.prepare(settings, DATASET, made.registry)
