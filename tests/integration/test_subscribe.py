"""Reading normalized rows from a real broker: only committed ones, from where the reader says."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition

from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.contract import load_contract
from streams import partition_reader, topics
from streams.clients import producer_config
from streams.clock import Deadline, monotonic, now
from streams.errors import BrokerError, RegistryError, SettingsError
from streams.offsets import end_offsets
from streams.partitioning import partition_of
from streams.settings import DatasetSettings
from streams.subscription import Subscription, UnreadableRow, subscribe
from tests.support.bars import good_bar
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

SYMBOLS = ["AAPL", "MSFT", "NVDA", "BRK.B", "GOOG", "AMZN"]


@pytest.fixture
def bars_world(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    return make_world(stack, world, tmp_path)


@contextmanager
def transaction(world: World) -> Iterator[Producer]:
    """A transaction, committed at the end of the block."""
    producer = Producer(producer_config(world.settings, transactional_id=f"{world.name}.{monotonic()}"))
    producer.init_transactions(30)
    producer.begin_transaction()
    yield producer
    producer.commit_transaction(30)


def put(world: World, producer: Producer, rows: list[dict[str, Any]], schema: Any = None) -> None:
    chosen = schema or world.contract_schema
    codec = ReferenceCodec(parse_record(chosen.schema), chosen.id)
    for row in rows:
        producer.produce(world.topic("normalized"), codec.encode_one(row), row["symbol"].encode())
    producer.flush(10)


def write(world: World, minutes: range, symbols: list[str] = SYMBOLS, **changes: Any) -> None:
    with transaction(world) as producer:
        put(world, producer, [good_bar(s, m, **changes) for m in minutes for s in symbols])


def everything(world: World, **options: Any) -> pl.DataFrame:
    with subscribe(DATASET, settings=world.settings, until_end=True, **options) as rows:
        return pl.concat([*rows]) if rows.partitions else pl.DataFrame()


def test_all_committed_rows_come_in_order_with_the_contracts_columns(bars_world: World) -> None:
    write(bars_world, range(10))
    write(bars_world, range(10, 20))
    found = everything(bars_world, batch_rows=7)
    assert len(found) == 120
    assert found.columns == list(load_contract("ohlcv").record.fields)
    assert found.schema["event_time"] == pl.Datetime("us", "UTC")
    for _, of_symbol in found.group_by("symbol"):
        assert of_symbol["event_time"].is_sorted()


def test_rows_of_aborted_and_of_open_transactions_are_never_seen(bars_world: World) -> None:
    write(bars_world, range(5), ["AAPL"])
    with transaction(bars_world) as aborted:
        put(bars_world, aborted, [good_bar("AAPL", 90)])
        aborted.abort_transaction(30)
        aborted.begin_transaction()
    write(bars_world, range(5, 8), ["AAPL"])
    with transaction(bars_world) as still_open:
        put(bars_world, still_open, [good_bar("AAPL", 99)])
        assert len(everything(bars_world, symbols=["AAPL"])) == 8
    assert len(everything(bars_world, symbols=["AAPL"])) == 9


def test_only_partitions_that_can_hold_the_symbols_are_read(bars_world: World) -> None:
    write(bars_world, range(3))
    with subscribe(DATASET, ["AAPL"], settings=bars_world.settings, until_end=True) as rows:
        assert rows.partitions == [partition_of("AAPL", 4)]
        assert set(pl.concat([*rows])["symbol"]) == {"AAPL"}


def test_the_end_is_the_end_as_it_was_at_the_start(bars_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write(bars_world, range(4))
    everywhere = [TopicPartition(bars_world.topic("normalized"), p) for p in range(4)]
    ends = end_offsets(bars_world.settings, everywhere, stable=True)
    write(bars_world, range(4, 8))
    # As if the second half had been committed between asking for the ends and the first fetch.
    monkeypatch.setattr(partition_reader, "end_offsets", lambda *_, **__: ends)
    with subscribe(DATASET, settings=bars_world.settings, until_end=True) as rows:
        assert len(pl.concat([*rows])) == 24
        assert rows.position == ends
    monkeypatch.undo()
    assert everything_from(bars_world, rows.position) == 24


def test_a_topic_without_rows_ends_at_once(bars_world: World) -> None:
    with subscribe(DATASET, settings=bars_world.settings, until_end=True) as rows:
        assert list(rows) == []


def test_a_position_goes_on_where_it_was_taken_frame_by_frame(bars_world: World) -> None:
    write(bars_world, range(30))
    seen, position = [], None
    for _ in range(1_000):
        with resumed(bars_world, position) as rows:
            frame = next(rows, None)
            position = rows.position
        if frame is None:
            break
        seen += frame.select("symbol", "event_time").rows()
    assert len(seen) == len(set(seen)) == 180


def test_a_position_goes_on_where_it_was_taken_row_by_row(bars_world: World) -> None:
    write(bars_world, range(4))
    with resumed(bars_world, None) as rows:
        single = rows.rows()
        seen = [(r["symbol"], r["event_time"]) for r in (next(single) for _ in range(5))]
        position = rows.position
    with resumed(bars_world, position) as rows:
        seen += [(r["symbol"], r["event_time"]) for r in rows.rows()]
    assert len(seen) == len(set(seen)) == 24


def resumed(world: World, position: dict[int, int] | None) -> Subscription:
    return subscribe(
        DATASET, None, "earliest" if position is None else position, world.settings, until_end=True, batch_rows=20
    )


def test_the_final_position_is_the_end_so_that_nothing_is_read_twice(bars_world: World) -> None:
    write(bars_world, range(3))
    with subscribe(DATASET, settings=bars_world.settings, until_end=True) as rows:
        assert sum(map(len, rows)) == 18
    assert everything_from(bars_world, rows.position) == 0
    write(bars_world, range(3, 4))
    assert everything_from(bars_world, rows.position) == 6


def everything_from(world: World, position: dict[int, int]) -> int:
    with subscribe(DATASET, None, position, world.settings, until_end=True) as rows:
        return sum(map(len, rows))


def test_latest_sees_only_what_is_committed_after_the_call(bars_world: World) -> None:
    write(bars_world, range(3))
    with subscribe(DATASET, ["AAPL"], "latest", bars_world.settings, timeout=20) as rows:
        write(bars_world, range(3, 5), ["AAPL"])
        assert len(next(rows)) == 2


def test_a_moment_begins_at_the_rows_that_arrived_then(bars_world: World) -> None:
    write(bars_world, range(2))
    between = after_this_millisecond()
    write(bars_world, range(2, 5))
    with subscribe(DATASET, None, between, bars_world.settings, until_end=True) as rows:
        assert sum(map(len, rows)) == 18
    with subscribe(DATASET, None, now() + timedelta(hours=1), bars_world.settings, until_end=True) as rows:
        assert list(rows) == []


def after_this_millisecond() -> datetime:
    """Return a moment that no record stamped before this call has: Kafka's times are milliseconds."""
    begun, deadline = now(), Deadline(5)
    while now() < begun + timedelta(milliseconds=2):
        assert not deadline.passed()
    return now()


def test_silence_longer_than_the_timeout_ends_the_iteration(bars_world: World) -> None:
    write(bars_world, range(1))
    with subscribe(DATASET, settings=bars_world.settings, timeout=0.5) as rows:
        assert sum(map(len, rows)) == 6


def test_flags_stay_and_are_explained_by_name(bars_world: World) -> None:
    gap = load_contract("ohlcv").findings["gap"]
    write(bars_world, range(1), ["AAPL"], flags=gap.mask)
    with subscribe(DATASET, ["AAPL"], settings=bars_world.settings, until_end=True) as rows:
        (row,) = rows.rows()
        assert [f.name for f in rows.explain(row["flags"])] == ["gap"]


def test_rows_of_an_older_contract_come_as_the_newest_ones_with_their_flags(bars_world: World) -> None:
    write(bars_world, range(2), ["AAPL"], flags=64)
    newer = copy.deepcopy(load_contract("ohlcv").schema)
    newer["fields"].insert(7, {"name": "trades", "type": "long", "default": -1, "role": "attribute"})
    registered = bars_world.registry.register(topics.subject(bars_world.topic("normalized")), newer)
    with transaction(bars_world) as producer:
        put(bars_world, producer, [good_bar("AAPL", 2, trades=12)], registered)
    found = everything(bars_world, symbols=["AAPL"])
    assert found["trades"].to_list() == [-1, -1, 12]
    assert found["flags"].to_list() == [64, 64, 0]
    assert found["event_time"].is_sorted()


def test_nanoseconds_are_kept_in_single_rows(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    ticks = make_world(stack, world, tmp_path, contract="trade", dataset={"interval": None})
    moment = 1_700_000_000_123_456_789
    trade = {"symbol": "A", "event_time": moment, "trade_id": "1", "price": 1.0, "size": 1.0, "side": "buy", "flags": 0}
    with transaction(ticks) as producer:
        put(ticks, producer, [trade])
    with subscribe(DATASET, ["A"], settings=ticks.settings, until_end=True) as rows:
        (row,) = rows.rows()
    assert isinstance(row["event_time"], datetime)
    assert row["event_time"].value == moment


def test_a_foreign_record_is_an_error_with_its_place_and_the_position_stays(bars_world: World) -> None:
    bars_world_topic = bars_world.topic("normalized")
    with transaction(bars_world) as producer:
        producer.produce(bars_world_topic, b"no avro", b"AAPL")
    with subscribe(DATASET, ["AAPL"], settings=bars_world.settings, until_end=True) as rows:
        for _ in range(2):
            with pytest.raises(UnreadableRow, match="offset 0") as caught:
                next(rows)
        assert rows.position == {caught.value.partition: 0}


@pytest.mark.parametrize(
    ("from_", "error", "complaint"),
    [
        ({0: 5, 1: 0, 2: 0, 3: 0}, BrokerError, "offset 5 is not there"),
        ({0: 0}, SettingsError, "no offset for partition 1"),
        ({0: -1}, SettingsError, "0: -1"),
        ("yesterday", SettingsError, "use earliest, latest"),
        (datetime(2024, 1, 2, tzinfo=UTC).replace(tzinfo=None), SettingsError, "time zone"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused_at_once(
    bars_world: World, from_: Any, error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        subscribe(DATASET, None, from_, bars_world.settings)


def test_one_symbol_as_text_is_refused_as_it_would_be_taken_for_its_letters(bars_world: World) -> None:
    with pytest.raises(SettingsError, match="list of at least one symbol"):
        subscribe(DATASET, "AAPL", settings=bars_world.settings)


def test_a_dataset_without_a_registered_contract_names_the_remedy(bars_world: World) -> None:
    settings = bars_world.settings.model_copy(update={"datasets": {"other": DatasetSettings(contract="ohlcv")}})
    with pytest.raises(RegistryError, match="seamless schema register"):
        subscribe("other", settings=settings)
