"""Payloads become columns, poison becomes failures, and what pyruhvro does not hold goes through fastavro."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest

from schemas.avro import AvroRecord, parse_record
from schemas.codec import Decoded, Decoder, Encoder
from schemas.columns import arrow_schema
from schemas.contract import Contract
from schemas.mapping import map_columns
from schemas.wire import header, schema_id


def record(*fields: dict[str, Any], name: str = "R") -> AvroRecord:
    return parse_record({"type": "record", "name": name, "fields": list(fields)})


PLAIN = record({"name": "s", "type": "string"}, {"name": "n", "type": "long"})


def payload(of: AvroRecord, identifier: int, datum: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(of.schema), datum)
    return header(identifier) + out.getvalue()


def plain(n: int, identifier: int = 7) -> bytes:
    return payload(PLAIN, identifier, {"s": f"row {n}", "n": n})


def rows(decoded: Decoded) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for part in decoded.parts:
        places = range(part.batch.num_rows) if part.rows is None else part.rows.tolist()
        found |= dict(zip(places, part.batch.to_pylist(), strict=True))
    return found


def decoder(of: AvroRecord = PLAIN) -> Decoder:
    return Decoder(lambda _: of)


def test_a_batch_of_one_schema_is_one_part_without_positions_once_the_schema_is_known() -> None:
    d = decoder()
    d.decode([plain(0)])
    decoded = d.decode([plain(1), plain(2)])
    assert len(decoded.parts) == 1
    assert decoded.parts[0].rows is None
    assert rows(decoded) == {0: {"s": "row 1", "n": 1}, 1: {"s": "row 2", "n": 2}}
    assert decoded.fallbacks == 0


def test_an_empty_batch_is_nothing() -> None:
    d = decoder()
    assert d.decode([]) == Decoded()
    d.decode([plain(0)])
    assert d.decode([]) == Decoded()
    assert Encoder(PLAIN, 7).encode(pa.RecordBatch.from_pylist([], schema=arrow_schema(PLAIN))) == []


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (None, "no schema id"),
        (b"", "no schema id"),
        (b"\0\0\0\0", "no schema id"),
        (b"{}", "no schema id"),
        (b"\x01" + plain(1)[1:], "no schema id"),
        (plain(1)[:-1], "EOFError"),
        (plain(1)[:5], "EOFError"),
        (plain(1) + b"\0", "1 bytes are left over after the record"),
        (header(7) + b"\x02\xff\x02", "UnicodeDecodeError"),
        (header(7) + b"\x01", "EOFError"),
    ],
    ids=["tombstone", "empty", "short", "json", "magic", "cut", "bodiless", "trailing", "utf-8", "negative length"],
)
@pytest.mark.parametrize("is_known", [False, True])
def test_poison_is_a_failure_and_its_neighbours_are_decoded(value: bytes | None, detail: str, is_known: bool) -> None:
    d = decoder()
    if is_known:
        d.decode([plain(0)])
    decoded = d.decode([plain(0), value, plain(2)])
    assert list(rows(decoded)) == [0, 2]
    assert [(f.row, f.flag) for f in decoded.failures] == [(1, "undecodable")]
    assert detail in decoded.failures[0].detail


@pytest.mark.parametrize(
    "body",
    [b"\x01\x02\x00\x01", b"\x04\x02\x00\x01", b"\x00\x01\x00\x01", b"\x00\x04\x00\x01", b"\x00\x02\x00\x02"],
    ids=["negative symbol", "symbol too great", "negative branch", "branch too great", "boolean of two"],
)
def test_damage_that_fastavro_would_forgive_is_a_failure(body: bytes) -> None:
    lenient = record(
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["a", "b"]}},
        {"name": "u", "type": ["null", "long"]},
        {"name": "b", "type": "boolean"},
    )
    good = payload(lenient, 7, {"e": "b", "u": 1, "b": True})
    decoded = decoder(lenient).decode([good, header(7) + body, good])
    assert list(rows(decoded)) == [0, 2]
    assert [f.row for f in decoded.failures] == [1]


def test_a_schema_id_nobody_knows_fails_with_the_reason() -> None:
    def resolve(identifier: int) -> AvroRecord | str:
        if identifier == 7:
            return PLAIN
        return "incompatible schema id 8: flatten it" if identifier == 8 else "unknown schema id 9"

    decoded = Decoder(resolve).decode([plain(0), plain(1, 8), plain(2, 9)])
    assert list(rows(decoded)) == [0]
    assert [(f.row, f.flag) for f in decoded.failures] == [(1, "incompatible_schema"), (2, "unknown_schema")]
    assert decoded.failures[0].detail == "incompatible schema id 8: flatten it"


def test_rows_of_a_schema_that_cannot_be_asked_for_wait_and_are_decoded_later() -> None:
    answers: dict[int, AvroRecord] = {7: PLAIN}
    d = Decoder(answers.get)
    decoded = d.decode([plain(0), plain(1, 8)])
    assert list(rows(decoded)) == [0]
    assert decoded.waiting == {8}
    assert decoded.failures == []
    answers[8] = PLAIN
    assert list(rows(d.decode([plain(0), plain(1, 8)]))) == [0, 1]


def test_a_schema_that_no_codec_can_use_fails_its_rows_alone() -> None:
    unusable = record({"name": "d", "type": "Undefined"})
    decoded = Decoder(lambda i: unusable if i == 8 else PLAIN).decode([plain(0), plain(1, 8), plain(2)])
    assert list(rows(decoded)) == [0, 2]
    assert [(f.row, f.flag) for f in decoded.failures] == [(1, "incompatible_schema")]
    assert "Undefined" in decoded.failures[0].detail


def test_a_record_of_another_schema_is_never_read_under_the_one_that_is_expected() -> None:
    other = record({"name": "t", "type": "string"}, {"name": "m", "type": "long"})
    d = Decoder({7: PLAIN, 8: other}.get)
    d.decode([plain(0)])
    assert rows(d.decode([plain(1), plain(2, 8)])) == {0: {"s": "row 1", "n": 1}, 1: {"t": "row 2", "m": 2}}
    assert rows(d.decode([plain(3, 8)])) == {0: {"t": "row 3", "m": 3}}


def test_a_resolver_is_asked_once_for_each_schema() -> None:
    asked = []

    def resolve(identifier: int) -> AvroRecord:
        asked.append(identifier)
        return PLAIN

    d = Decoder(resolve)
    for _ in range(3):
        d.decode([plain(0), plain(1, 8)])
    assert sorted(asked) == [7, 8]


DECIMALS = record(
    {"name": "k", "type": "string"},
    {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "x", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "f", "type": {"type": "fixed", "name": "F", "size": 3}},
    {"name": "b", "type": ["null", "bytes"]},
    {"name": "deep", "type": {"type": "array", "items": "int"}},
)


def decimal_row(x: str) -> dict[str, Any]:
    return {"k": "A", "t": 1_704_205_800_000_000, "x": Decimal(x), "f": b"abc", "b": None, "deep": [1, 2]}


def test_bytes_fixed_and_decimals_go_through_the_reference_codec_and_become_columns() -> None:
    assert not DECIMALS.flat
    values = [payload(DECIMALS, 7, decimal_row("1.25")), payload(DECIMALS, 7, decimal_row("-3.50"))[:-1]]
    decoded = decoder(DECIMALS).decode(values)
    assert rows(decoded) == {0: {"k": "A", "t": 1_704_205_800_000_000, "x": Decimal("1.25"), "f": b"abc", "b": None}}
    assert [f.row for f in decoded.failures] == [1]
    assert decoded.fallbacks == 2


def test_a_decimal_of_a_raw_schema_is_cast_to_the_contracts_double_and_flagged() -> None:
    contract = Contract.parse(
        {
            "type": "record",
            "name": "T",
            "identity": ["k"],
            "fields": [
                {"name": "k", "type": "string", "role": "key"},
                {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}, "role": "event_time"},
                {"name": "x", "type": "double"},
                {"name": "f", "type": "string"},
                {"name": "flags", "type": "long", "role": "flags", "default": 0},
            ],
        }
    )
    decoded = decoder(DECIMALS).decode([payload(DECIMALS, 7, decimal_row("1.25"))])
    mapped = map_columns(contract, decoded.parts[0].batch, DECIMALS, "UTC")
    assert mapped.batch.to_pylist()[0] == {"k": "A", "t": 1_704_205_800_000_000, "x": 1.25, "f": "abc", "flags": 0}
    assert ("dtype_cast", "x") in {(h.finding.name, h.column) for h in mapped.hits}


def test_a_decimal_beyond_its_precision_is_the_fault_of_its_record_alone() -> None:
    loose = record({"name": "x", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}})
    strict = record({"name": "x", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}})
    values = [payload(loose, 7, {"x": Decimal(x)}) for x in ("1.00", "1234567.00", "2.00")]
    decoded = decoder(strict).decode(values)
    assert rows(decoded) == {0: {"x": Decimal("1.00")}, 2: {"x": Decimal("2.00")}}
    assert [f.row for f in decoded.failures] == [1]


@pytest.mark.parametrize("null_first", [True, False])
def test_a_column_of_nulls_alone_is_decoded(null_first: bool) -> None:
    kinds = ["string", "long", "double", "boolean", {"type": "enum", "name": "E", "symbols": ["a"]}]
    nullable = record(
        *({"name": f"f{i}", "type": ["null", k] if null_first else [k, "null"]} for i, k in enumerate(kinds))
    )
    datum = dict.fromkeys(nullable.fields)
    decoded = decoder(nullable).decode([payload(nullable, 7, datum)] * 2)
    assert rows(decoded) == {0: datum, 1: datum}
    assert decoded.fallbacks == 0


@pytest.mark.parametrize("identifier", [0, 1, 127, 2**31, 0x7FA00000, 0xFFC00001, 2**32 - 1])
def test_a_schema_id_keeps_its_bits_although_it_travels_as_a_float(identifier: int) -> None:
    batch = pa.RecordBatch.from_pylist([{"s": "a", "n": 1}], schema=arrow_schema(PLAIN))
    encoded = Encoder(PLAIN, identifier).encode(batch)
    assert schema_id(encoded[0]) == identifier
    d = decoder()
    for _ in range(2):
        assert d.decode(encoded).fallbacks == 0


def test_the_encoder_writes_slices_and_what_fastavro_reads() -> None:
    batch = pa.RecordBatch.from_pylist([{"s": f"row {i}", "n": i} for i in range(4)], schema=arrow_schema(PLAIN))
    assert Encoder(PLAIN, 7).encode(batch.slice(2)) == [plain(2), plain(3)]


def test_a_record_that_the_columnar_codec_does_not_hold_is_encoded_by_the_reference_codec() -> None:
    binary = record({"name": "b", "type": "bytes"})
    batch = pa.RecordBatch.from_pylist([{"b": b"x"}], schema=arrow_schema(binary))
    assert Encoder(binary, 7).encode(batch) == [payload(binary, 7, {"b": b"x"})]


def test_positions_of_parts_are_those_of_the_batch() -> None:
    decoded = Decoder(lambda _: PLAIN).decode([plain(0, 8), plain(1, 7), plain(2, 8), plain(3, 7)])
    assert [np.asarray(p.rows).tolist() for p in decoded.parts] == [[0, 2], [1, 3]]
