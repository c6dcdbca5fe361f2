"""What the normalizer makes of the rows of a raw topic, on a real broker and a real registry."""

from __future__ import annotations

import copy
import random
import struct
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.contract import Contract
from schemas.findings import STANDARD
from streams import topics
from streams.clients import producer_config
from streams.errors import DatasetStopped
from streams.events import EventCodec
from streams.health import Status
from streams.normalizer_job import registered_contract
from tests.support.bars import START, faulty_bars, good_bar
from tests.support.normalizing import Run, normalize
from tests.support.oracle import assert_exactly_once
from tests.support.progress import committed, until
from tests.support.worlds import World, make_world

pytestmark = pytest.mark.kafka

NO_LIMIT = {"max_share": 1.0}


def codec_of(world: World) -> ReferenceCodec:
    return ReferenceCodec(parse_record(world.raw_schema.schema), world.raw_schema.id)


def normalized(world: World) -> list[dict[str, Any]]:
    codec = ReferenceCodec(parse_record(world.contract_schema.schema), world.contract_schema.id)
    return [codec.decode_one(payload(m)) for m in world.read(world.topic("normalized"))]


def quarantined(world: World) -> list[dict[str, Any]]:
    codec = world.event_codec("quarantine", "quarantined_row")
    return [codec.decode(payload(m)) for m in world.read(world.topic("quarantine"))]


def payload(message: Message) -> bytes:
    value = message.value()
    assert value is not None
    return value


def flags_of(row: dict[str, Any]) -> set[str]:
    return {reason["flag"] for reason in row["reasons"]}


def has(row: dict[str, Any], finding: str) -> bool:
    return bool(row["flags"] & STANDARD[finding].mask)


def garbage(chance: random.Random, schema_id: int) -> bytes:
    """Random bytes, half of them under the header of a schema that exists."""
    header = struct.pack(">bI", 0, schema_id) if chance.random() < 0.5 else b""
    return header + chance.randbytes(chance.randrange(80))


def test_garbage_goes_to_quarantine_with_its_bytes_and_every_good_row_passes(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, quarantine=NO_LIMIT)
    chance, codec = random.Random(1), codec_of(made)
    sent: dict[int, list[bytes]] = {p: [] for p in range(4)}
    good = 0
    for n in range(20_000):
        is_good = n % 2 == 0
        good += is_good
        bad = garbage(chance, made.raw_schema.id)
        sent[n % 4].append(codec.encode_one(good_bar(f"S{n % 4}", n)) if is_good else bad)
    made.produce((p, b"k", value) for p, values in sent.items() for value in values)
    normalize(made)
    rows = quarantined(made)
    assert {(r["partition"], r["offset"]) for r in rows} == {
        (p, o) for p, values in sent.items() for o in range(len(values)) if p % 2 == 1
    }
    assert all(r["value"] == sent[r["partition"]][r["offset"]] for r in rows)
    assert all(flags_of(r) for r in rows)
    assert len(made.read(made.topic("normalized"))) == good == 10_000


def test_an_output_of_every_kind_of_fault_is_that_of_the_oracle(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, quarantine=NO_LIMIT)
    made.produce(faulty_bars(20_000, made.raw_schema.id, seed=11))
    normalize(made)
    assert_exactly_once(made)


def test_a_dataset_that_mostly_fails_is_stopped_loudly_and_goes_on_under_a_higher_limit(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, quarantine={"max_share": 0.5, "window_rows": 100})
    codec = codec_of(made)
    rows = [good_bar("A", n) | ({"close": float("nan")} if n % 4 else {}) for n in range(1_000)]
    made.produce((2, b"A", codec.encode_one(row)) for row in rows)
    run = Run(made)
    with pytest.raises(DatasetStopped, match=r"75% .*max_share \(50%\).*non_finite in close, first at 2:1 2:2"):
        run.to_end()
    assert run.value("seamless_dataset_stopped", dataset="bars") == 1
    assert run.health.report().status is Status.DEGRADED
    assert "non_finite" in run.health.report().reasons[0]
    assert made.read(made.topic("normalized")) == []
    assert made.read(made.topic("quarantine")) == []
    assert made.read(made.topic("conformance_state")) == []
    assert committed(made).get(2, 0) == 0
    assert run.value("seamless_rows_in_total", dataset="bars") == 0

    raised = make_world(stack, world, tmp_path, quarantine={"max_share": 0.8, "window_rows": 100})
    again = normalize(raised)
    assert again.value("seamless_dataset_stopped", dataset="bars") == 0
    assert len(made.read(made.topic("normalized"))) == 250
    assert len(made.read(made.topic("quarantine"))) == 750


def test_good_rows_of_an_open_transaction_are_not_committed_when_the_next_batch_stops_the_dataset(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    """Offsets had moved past the bad batch already: a commit on the way out would lose its rows."""
    made = make_world(
        stack,
        world,
        tmp_path,
        dataset={"partitions": 1},
        quarantine={"max_share": 0.5, "window_rows": 10_000},
        normalizer={"commit_interval_ms": 4_000},
    )
    codec = codec_of(made)
    made.produce((0, b"A", codec.encode_one(good_bar("A", n))) for n in range(10_000))
    made.produce((0, b"A", b"poison") for _ in range(10_000))
    with pytest.raises(DatasetStopped):
        normalize(made)
    done = committed(made).get(0, 0)
    assert len(made.read(made.topic("normalized"))) == done
    assert made.read(made.topic("quarantine")) == []
    normalize(make_world(stack, world, tmp_path, dataset={"partitions": 1}, quarantine=NO_LIMIT))
    assert len(made.read(made.topic("normalized"))) == 10_000
    assert len(made.read(made.topic("quarantine"))) == 10_000


def test_a_crash_within_a_batch_commits_no_half_of_it_on_the_way_out(
    stack: EmbeddedStack, world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_world(
        stack,
        world,
        tmp_path,
        dataset={"partitions": 1},
        quarantine=NO_LIMIT,
        normalizer={"commit_interval_ms": 4_500, "transaction_timeout_ms": 30_000},
    )
    good = [codec_of(made).encode_one(good_bar("A", n)) for n in range(2_000)]
    run = Run(made)

    def crash(*_: object) -> None:
        raise RuntimeError("out of luck")

    # Normalized rows of a batch are written before its quarantined ones.
    monkeypatch.setattr(run.normalizer._output, "_write_quarantine", crash)
    run.start()
    until(lambda: run.normalizer._owned() == [0], 60, "the assignment")
    made.produce((0, b"A", value) for value in good[:1_000])
    until(lambda: run.normalizer._open.rows > 0, 30, "an open transaction")
    made.produce([*((0, b"A", value) for value in good[1_000:]), (0, b"A", b"poison")])
    until(lambda: not run.alive, 30, "the crash")
    assert isinstance(run.error, RuntimeError)
    normalize(made)
    assert_exactly_once(made)


def test_who_finds_nothing_to_do_leaves_at_once(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    """It leaves while its assignment is on the way, for which nothing can be asked of the broker any more."""
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    made.produce([(0, b"A", codec_of(made).encode_one(good_bar("A", 0)))])
    normalize(made)
    began = time.monotonic()
    for _ in range(3):
        normalize(made)
    assert time.monotonic() - began < 20


VENDOR = {
    "type": "record",
    "name": "Vendor",
    "fields": [
        {"name": "ticker", "type": "string"},
        {"name": "ts", "type": "string"},
        {"name": "o", "type": "string"},
        {"name": "h", "type": "string"},
        {"name": "l", "type": "string"},
        {"name": "c", "type": "string"},
    ],
}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4}
DECIMALS = {
    "type": "record",
    "name": "VendorDecimals",
    "fields": [
        {"name": "sym", "type": "string"},
        {"name": "ts", "type": "long"},
        *({"name": n, "type": DECIMAL} for n in ("o", "h", "l", "c", "v")),
    ],
}


def test_rows_of_many_schemas_in_one_batch_become_columns_of_one_contract(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    evolved = copy.deepcopy(made.raw_schema.schema)
    evolved["fields"].append({"name": "venue", "type": ["null", "string"], "default": None})
    evolved_id = made.registry.register(topics.subject(made.topic("raw")), evolved).id
    vendor_id = made.registry.register(f"{world}-vendor-value", VENDOR).id
    decimals_id = made.registry.register(f"{world}-decimals-value", DECIMALS).id

    def own(symbol: str, minute: int) -> bytes:
        return codec_of(made).encode_one(good_bar(symbol, minute))

    def new(symbol: str, minute: int) -> bytes:
        datum = good_bar(symbol, minute) | {"venue": "X"}
        return ReferenceCodec(parse_record(evolved), evolved_id).encode_one(datum)

    def texts(symbol: str, minute: int) -> bytes:
        bar = good_bar(symbol, minute)
        datum = {"ticker": symbol, "ts": str(bar["event_time"] // 1_000_000)}
        datum |= {n[0]: str(bar[n]) for n in ("open", "high", "low", "close")}
        return ReferenceCodec(parse_record(VENDOR), vendor_id).encode_one(datum)

    def decimals(symbol: str, minute: int) -> bytes:
        bar = good_bar(symbol, minute)
        datum = {"sym": symbol, "ts": bar["event_time"] // 1_000}
        datum |= {n[0]: Decimal(str(bar[n])) for n in ("open", "high", "low", "close", "volume")}
        return ReferenceCodec(parse_record(DECIMALS), decimals_id).encode_one(datum)

    kinds = [own, new, texts, decimals]
    made.produce((0, b"A", kinds[n % 4]("A", n)) for n in range(400))
    run = normalize(made)
    rows = normalized(made)
    assert [r["event_time"] for r in rows] == [START + n * 60_000_000 for n in range(400)]
    assert all((r["open"], r["high"], r["low"], r["close"]) == (100.0, 101.0, 99.0, 100.5) for r in rows)
    assert [r["volume"] for r in rows[:4]] == [10.0, 10.0, 0.0, 10.0]
    assert not has(rows[0], "dtype_cast")
    assert has(rows[2], "dtype_cast")
    assert has(rows[2], "missing_column")
    assert has(rows[3], "dtype_cast")
    assert made.read(made.topic("quarantine")) == []
    assert run.value("seamless_schema_decode_fallback_total", dataset="bars") >= 100


def test_tombstones_null_keys_and_records_of_nearly_a_megabyte_go_to_quarantine_as_they_were(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1}, quarantine=NO_LIMIT)
    large = [random.Random(n).randbytes(900_000) for n in range(3)]
    made.produce([(0, b"gone", None), (0, None, None), (0, None, b""), *((0, None, value) for value in large)])
    made.produce([(0, None, codec_of(made).encode_one(good_bar("A", 0)))])
    normalize(made)
    rows = quarantined(made)
    assert [(r["key"], r["value"]) for r in rows] == [
        (b"gone", None),
        (None, None),
        (None, b""),
        *((None, value) for value in large),
    ]
    assert [r["symbol"] for r in normalized(made)] == ["A"]


def test_a_schema_that_is_no_record_or_no_avro_spoils_its_rows_and_holds_up_no_others(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1}, quarantine=NO_LIMIT)
    lacking = {"type": "record", "name": "Lacking", "fields": [{"name": "ticker", "type": "string"}]}
    ids = [
        made.registry.register(f"{world}-lacking-value", lacking).id,
        made.registry.register(f"{world}-text-value", {"type": "string"}).id,
        registered_json_schema(stack, f"{world}-json-value"),
    ]
    good = codec_of(made).encode_one(good_bar("A", 0))
    made.produce([*((0, None, struct.pack(">bI", 0, i) + b"\x02A") for i in ids), (0, None, good)])
    normalize(made)
    assert [flags_of(r) for r in quarantined(made)] == [{"incompatible_schema"}] * 3
    assert len(made.read(made.topic("normalized"))) == 1


JSON_SCHEMA = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'


def registered_json_schema(stack: EmbeddedStack, subject: str) -> int:
    client = SchemaRegistryClient({"url": stack.registry_url})
    identifier = client.register_schema(subject, Schema(JSON_SCHEMA, "JSON"))
    client.close()
    return int(identifier)


def test_shadow_mode_passes_every_row_that_can_be_decoded(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    vendor = copy.deepcopy(VENDOR)
    made = make_world(stack, world, tmp_path, raw=vendor, dataset={"partitions": 1, "mode": "shadow"})
    codec = codec_of(made)
    bar = {"ticker": "A", "ts": "1700000040", "o": "1", "h": "2", "l": "1", "c": "2"}
    bad = [bar, bar | {"ts": "yesterday"}, bar | {"c": "nan"}, bar | {"h": "0.5"}, bar]
    made.produce([*((0, b"A", codec.encode_one(row)) for row in bad), (0, b"A", b"poison")])
    raw = made.read(made.topic("raw"))
    run = normalize(made)
    rows = normalized(made)
    assert len(rows) == 5
    assert has(rows[1], "invalid_timestamp")
    assert rows[1]["event_time"] == raw[1].timestamp()[1] * 1_000, "the record's own time stands in"
    assert has(rows[2], "non_finite")
    assert has(rows[4], "duplicate_ts")
    assert [flags_of(r) for r in quarantined(made)] == [{"undecodable"}]
    assert run.value("seamless_rows_out_total", dataset="bars") == 5


def test_duplicates_revisions_and_gaps_across_a_restart_are_found_as_if_there_had_been_none(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    codec = codec_of(made)

    def send(*bars: dict[str, Any]) -> None:
        made.produce((0, b"A", codec.encode_one(bar)) for bar in bars)

    send(good_bar("A", 0), good_bar("A", 1))
    normalize(made)
    send(good_bar("A", 1), good_bar("A", 1, close=100.7), good_bar("A", 4))
    run = normalize(made)
    rows = normalized(made)
    assert len(rows) == 4
    assert has(rows[2], "revision")
    assert has(rows[3], "gap")
    assert not has(rows[1], "gap")
    assert run.value("seamless_rows_dropped_total", dataset="bars") == 1
    assert_exactly_once(made)


@pytest.mark.parametrize("rows_each", [1, 7])
def test_rows_of_a_transactional_producer_pass_once_and_the_end_is_reached_behind_its_control_records(
    stack: EmbeddedStack, world: str, tmp_path: Path, rows_each: int
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 2})
    codec = codec_of(made)
    producer = Producer(producer_config(made.settings, transactional_id=f"{world}-vendor"))
    producer.init_transactions(30)
    minute = 0
    for n in range(60):
        producer.begin_transaction()
        for _ in range(rows_each):
            minute += 1
            producer.produce(made.topic("raw"), codec.encode_one(good_bar("A", minute)), b"A", 0)
        assert producer.flush(30) == 0  # An abort would throw away what was not sent yet.
        (producer.abort_transaction if n % 5 == 4 else producer.commit_transaction)(30)
    run = normalize(made)
    assert_exactly_once(made)
    assert len(made.read(made.topic("normalized"))) == 48 * rows_each
    behind = run.value("seamless_lag_records", topic=made.topic("raw"), partition="0")
    assert behind == 0
    # Another process sees from the offsets alone that there is nothing to do.
    assert committed(made)[0] == 60 * (rows_each + 1)
    assert normalize(made).value("seamless_rows_in_total", dataset="bars") == 0


def test_reports_name_what_was_found_and_where(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path, quarantine=NO_LIMIT)
    codec = codec_of(made)
    rows = [good_bar("A", n) | ({"volume": -1.0} if n == 3 else {}) for n in range(5)]
    made.produce((1, b"A", codec.encode_one(row)) for row in rows)
    normalize(made)
    reports = topics.conformance_reports(world)
    decode = EventCodec(made.registry, reports, "conformance_report").decode
    found = [decode(payload(m)) for m in made.read(reports)]
    assert sum(r["rows_in"] for r in found) == 5
    assert sum(r["rows_quarantined"] for r in found) == 1
    assert max(r["newest"] for r in found).timestamp() * 1_000_000 == rows[-1]["event_time"]
    [finding] = [f for r in found for f in r["findings"] if f["severity"] == "violation"]
    assert (finding["flag"], finding["column"], finding["examples"]) == ("negative_size", "volume", ["1:3"])
    registered = registered_contract(made.registry, world, "bars")
    assert found[0]["contract_fingerprint"] == Contract.parse(registered.schema).fingerprint
    assert found[0]["contract_version"] == registered.version
