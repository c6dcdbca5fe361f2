"""Whatever the schema, the rows and the damage: what the codec says is what fastavro says, and no record is lost."""

from __future__ import annotations

import io
from dataclasses import dataclass
from random import Random
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro import AvroRecord, parse_record
from schemas.codec import Decoder, Encoder
from schemas.codec_columnar import ColumnarCodec
from schemas.columns import arrow_schema
from schemas.wire import header
from tests.support.examples import examples

moderate = examples(50)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
    "float": st.floats(width=32),
    "double": st.floats(),
    "string": st.text(max_size=12) | st.text("x", min_size=60, max_size=70),
}
LOGICAL = ("timestamp-millis", "timestamp-micros", "timestamp-nanos", "local-timestamp-micros")
SYMBOLS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Table:
    """A generated schema and rows of it."""

    record: AvroRecord
    rows: list[dict[str, Any]]

    def batch(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(self.rows, schema=arrow_schema(self.record))

    def fastavro_payloads(self, schema_id: int) -> list[bytes]:
        return [fastavro_payload(self.record, schema_id, row) for row in self.rows]


def fastavro_payload(record: AvroRecord, schema_id: int, row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(plain(record.schema)), row)
    return header(schema_id) + out.getvalue()


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Take logical types out, so that fastavro writes integers as they are."""

    def of(kind: Any) -> Any:
        if isinstance(kind, list):
            return [of(branch) for branch in kind]
        return kind["type"] if isinstance(kind, dict) and "logicalType" in kind else kind

    return {**schema, "fields": [{**f, "type": of(f["type"])} for f in schema["fields"]]}


@st.composite
def fields(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], st.SearchStrategy[Any]]:
    kind = draw(st.sampled_from([*VALUES, "enum", "time"]))
    shape: Any = kind
    if kind == "enum":
        symbols = SYMBOLS[: draw(st.integers(1, 4))]
        shape, values = {"type": "enum", "name": f"E{name}", "symbols": list(symbols)}, st.sampled_from(symbols)
    elif kind == "time":
        shape, values = {"type": "long", "logicalType": draw(st.sampled_from(LOGICAL))}, VALUES["long"]
    else:
        values = VALUES[kind]
    union = draw(st.sampled_from(["none", "first", "last"]))
    if union == "none":
        return {"name": name, "type": shape}, values
    return {"name": name, "type": ["null", shape] if union == "first" else [shape, "null"]}, st.none() | values


@st.composite
def tables(draw: st.DrawFn, min_rows: int = 0) -> Table:
    drawn = [draw(fields(f"f{i}")) for i in range(draw(st.integers(1, 6)))]
    schema = {"type": "record", "name": "Row", "namespace": "x.y", "fields": [f for f, _ in drawn]}
    rows = draw(st.lists(st.fixed_dictionaries({f["name"]: v for f, v in drawn}), min_size=min_rows, max_size=12))
    return Table(parse_record(schema), rows)


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> bool:
    """Compare by text, in which NaN equals NaN and -0.0 is not 0.0."""
    return [repr(sorted(row.items())) for row in ours] == [repr(sorted(row.items())) for row in theirs]


@moderate
@given(tables(), st.integers(0, 2**32 - 1))
def test_encoded_bytes_are_those_of_fastavro(table: Table, schema_id: int) -> None:
    assert Encoder(table.record, schema_id).encode(table.batch()) == table.fastavro_payloads(schema_id)


@moderate
@given(tables(min_rows=1), st.integers(0, 2**32 - 1))
def test_decoded_rows_are_those_that_fastavro_wrote(table: Table, schema_id: int) -> None:
    payloads = table.fastavro_payloads(schema_id)
    decoder = Decoder(lambda _: table.record)
    for _ in range(2):  # The second time, the schema is known and the batch takes the short way.
        decoded = decoder.decode(payloads)
        assert not decoded.failures
        assert decoded.fallbacks == 0
        assert same(decoded.parts[0].batch.to_pylist(), table.rows)
        assert decoded.parts[0].batch.schema == arrow_schema(table.record)


@dataclass(frozen=True)
class Poison:
    """A way to damage a record, and before which clean one it stands."""

    kind: str
    before: int
    number: int

    def damage(self, clean: bytes) -> bytes | None:
        if self.kind == "cut":
            return clean[: self.number % len(clean)]
        if self.kind == "longer":
            return clean + bytes(1 + self.number % 3)
        if self.kind == "unknown":
            return header(99) + clean[5:]
        return None if self.kind == "tombstone" else b"\x01" + clean[1:]


poisons = st.builds(
    Poison,
    st.sampled_from(["cut", "longer", "unknown", "tombstone", "unframed"]),
    st.integers(0, 23),
    st.integers(0, 99),
)


@moderate
@given(tables(), tables(), st.randoms(use_true_random=False), st.lists(poisons, max_size=8))
def test_in_any_mix_every_clean_record_is_decoded_and_every_poison_one_is_a_failure(
    one: Table, other: Table, random: Random, poison: list[Poison]
) -> None:
    tables_by_id = {7: one, 8: other}
    rows = [(i, row) for i, table in tables_by_id.items() for row in table.rows]
    random.shuffle(rows)
    values: list[bytes | None] = []
    expected: dict[int, dict[str, Any]] = {}
    poisoned = set()
    for place, (schema_id, row) in enumerate(rows):
        clean = fastavro_payload(tables_by_id[schema_id].record, schema_id, row)
        for p in poison:
            if p.before == place:
                poisoned.add(len(values))
                values.append(p.damage(clean))
        expected[len(values)] = row
        values.append(clean)

    def resolve(schema_id: int) -> AvroRecord | str:
        return tables_by_id[schema_id].record if schema_id in tables_by_id else "unknown schema id"

    decoded = Decoder(resolve).decode(values)

    found = {}
    for part in decoded.parts:
        assert part.rows is not None
        found |= dict(zip(part.rows.tolist(), part.batch.to_pylist(), strict=True))
    assert {f.row for f in decoded.failures} == poisoned
    assert sorted(found) == sorted(expected)
    assert all(same([found[i]], [expected[i]]) for i in expected)
    assert {f.flag for f in decoded.failures} <= {"undecodable", "unknown_schema"}


@moderate
@given(tables(min_rows=1), st.data())
def test_damaged_bytes_fail_or_are_another_record_to_the_byte(table: Table, data: st.DataObject) -> None:
    """No leniency of a codec may turn damage into values that were never written."""
    clean = table.fastavro_payloads(5)
    body = bytearray(clean[0])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(5, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    damaged = bytes(body)

    decoded = Decoder(lambda _: table.record).decode([clean[0], damaged, clean[0]])

    assert sum(part.batch.num_rows for part in decoded.parts) + len(decoded.failures) == 3
    assert {f.row for f in decoded.failures} <= {1}
    if not decoded.failures:
        assert Encoder(table.record, 5).encode(decoded.parts[0].batch)[1] == damaged


@pytest.mark.parametrize("places", [[0], [63], [64], [199], [0, 1, 2], [10, 90, 150]])
def test_poison_in_a_large_batch_is_found_wherever_it_stands(places: list[int]) -> None:
    record = parse_record({"type": "record", "name": "R", "fields": [{"name": "s", "type": "string"}]})
    batch = pa.RecordBatch.from_pylist([{"s": f"row {i}"} for i in range(200)], schema=arrow_schema(record))
    values: list[bytes | None] = list(ColumnarCodec(record, 3).encode(batch))
    for place in places:
        values[place] = header(3) + b"\xff"
    decoded = Decoder(lambda _: record).decode(values)
    assert [f.row for f in decoded.failures] == places
    assert len(decoded.parts) == 1
    assert decoded.parts[0].batch.column(0).to_pylist() == [f"row {i}" for i in range(200) if i not in places]
    assert decoded.parts[0].rows is not None
    assert decoded.parts[0].rows.tolist() == [i for i in range(200) if i not in places]
    assert decoded.fallbacks < 200
