"""Raw columns become the contract's: by name or alias, promoted or cast, or found to be impossible."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from schemas.avro import AvroRecord, parse_record
from schemas.columns import arrow_schema
from schemas.contract import Contract
from schemas.errors import ContractError
from schemas.gathering import one_batch
from schemas.mapping import Mapped, admissible, map_columns

MOMENT = 1_704_205_800_000_000  # 2024-01-02 14:30 UTC in microseconds


def contract(*fields: dict[str, Any]) -> Contract:
    return Contract.parse(
        {
            "type": "record",
            "name": "T",
            "identity": ["k"],
            "fields": [
                {"name": "k", "type": "string", "role": "key", "aliases": ["sym"]},
                {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}, "role": "event_time"},
                *fields,
                {"name": "flags", "type": "long", "role": "flags", "default": 0},
            ],
        }
    )


def mapped(
    *fields: dict[str, Any], raw: AvroRecord | None = None, zone: str = "UTC", **columns: Any
) -> tuple[dict[str, list[Any]], dict[tuple[str, str | None], list[int]], Mapped]:
    """Map columns; return the values, the rows of each finding, and everything."""
    n = len(next(iter(columns.values())))
    columns = {"k": ["A"] * n, "t": pa.array([MOMENT] * n, pa.timestamp("us", "UTC")), **columns}
    columns = {name: column for name, column in columns.items() if column is not None}
    arrays = {name: c if isinstance(c, pa.Array) else pa.array(c) for name, c in columns.items()}
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))
    result = map_columns(contract(*fields), batch, raw, zone)
    hits = {(h.finding.name, h.column): np.flatnonzero(h.mask(n)).tolist() for h in result.hits}
    return result.batch.to_pydict(), hits, result


def raw_record(**types: Any) -> AvroRecord:
    fields = [
        {"name": n, **t} if isinstance(t, dict) and "timezone" in t else {"name": n, "type": t}
        for n, t in types.items()
    ]
    return parse_record({"type": "record", "name": "Raw", "fields": fields})


def x(kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": "x", "type": kind, **more}


def test_columns_of_the_contract_pass_as_they_are() -> None:
    values, hits, result = mapped(x("double"), x=[1.5, 2.5])
    assert values["x"] == [1.5, 2.5]
    assert hits == {}
    assert result.batch.schema == contract(x("double")).columns


def test_an_alias_stands_in_for_a_name_and_the_name_goes_first() -> None:
    values, _, _ = mapped(x("double", aliases=["ex", "eks"]), eks=[1.0], ex=[2.0])
    assert values["x"] == [2.0]
    values, _, result = mapped(x("double", aliases=["ex"]), x=[1.0], ex=[2.0])
    assert values["x"] == [1.0]
    assert result.ignored == ("ex",)


def test_columns_without_a_place_in_the_contract_are_named() -> None:
    _, _, result = mapped(x("double"), x=[1.0], vendor=["v"], other=[1])
    assert result.ignored == ("vendor", "other")


def test_a_missing_column_is_filled_with_its_default_and_flagged() -> None:
    values, hits, _ = mapped(x("double", default=7), y=[1, 2])
    assert values["x"] == [7.0, 7.0]
    assert hits == {("missing_column", "x"): [0, 1]}
    values, hits, _ = mapped(x(["null", "double"], default=None), y=[1])
    assert values["x"] == [None]
    assert hits == {("missing_column", "x"): [0]}


def test_a_missing_column_without_default_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="column 'x' is missing and the contract has no default"):
        mapped(x("double"), y=[1])


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        ("double", pa.array([1, 2**60 + 1], pa.int64()), [1.0, float(2**60 + 1)]),
        ("double", pa.array([1], pa.int32()), [1.0]),
        ("double", pa.array([2**64 - 1], pa.uint64()), [float(2**64 - 1)]),
        ("double", pa.array([1.5], pa.float32()), [1.5]),
        ("float", pa.array([2**40], pa.int64()), [float(2**40)]),
        ("long", pa.array([-5], pa.int8()), [-5]),
        ("string", pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        ("string", pa.array(["a"], pa.large_string()), ["a"]),
        ("string", pa.array(["a"], pa.string_view()), ["a"]),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, pa.array(["b"], pa.large_string()), ["b"]),
    ],
)
def test_a_type_that_widens_is_no_finding(kind: Any, column: pa.Array, expected: list[Any]) -> None:
    values, hits, _ = mapped(x(kind), x=column)
    assert values["x"] == expected
    assert hits == {}


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        ("double", pa.array([" 1.5 ", "-2e3"]), [1.5, -2000.0]),
        ("long", pa.array(["12", str(2**63 - 1)]), [12, 2**63 - 1]),
        ("long", pa.array([3.0, -(2.0**63)]), [3, -(2**63)]),
        ("int", pa.array([2147483647.0, -2147483648.0]), [2**31 - 1, -(2**31)]),
        ("int", pa.array([5], pa.int64()), [5]),
        ("long", pa.array([5], pa.uint64()), [5]),
        ("long", pa.array([Decimal("9007199254740993.00")]), [9007199254740993]),
        ("double", pa.array([Decimal("1.25")]), [1.25]),
        ("string", pa.array([17]), ["17"]),
        ("boolean", pa.array(["TRUE", "false"]), [True, False]),
        ("float", pa.array([0.5]), [0.5]),
    ],
)
def test_any_other_change_of_type_is_a_cast_and_flagged(kind: str, column: pa.Array, expected: list[Any]) -> None:
    values, hits, _ = mapped(x(kind), x=column)
    assert values["x"] == expected
    assert hits == {("dtype_cast", "x"): list(range(len(expected)))}


@pytest.mark.parametrize(
    ("kind", "column", "bad"),
    [
        ("double", pa.array(["1,5", "1"]), [0]),
        ("long", pa.array([1.5, 1.0]), [0]),
        ("long", pa.array([2.0**63, float("nan"), float("inf"), 1.0]), [0, 1, 2]),
        ("int", pa.array([2**31, 1]), [0]),
        ("int", pa.array([2147483648.0, 1.0]), [0]),
        ("long", pa.array([2**63, 1], pa.uint64()), [0]),
        ("long", pa.array([Decimal("1.5"), Decimal("2.0")]), [0]),
        ("long", pa.array(["1e3", str(2**63)]), [0, 1]),
        ("double", pa.array([True]), [0]),
        ("double", pa.array([datetime(2024, 1, 2, tzinfo=UTC)]), [0]),
        ("boolean", pa.array(["yes", "true"]), [0]),
        ("string", pa.array([b"\xff", b"ok"]), [0]),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, pa.array(["c", "a"]), [0]),
    ],
)
def test_a_value_that_does_not_fit_is_found_and_its_neighbours_are_not(
    kind: Any, column: pa.Array, bad: list[int]
) -> None:
    _, hits, _ = mapped(x(kind), x=column)
    assert hits["dtype_mismatch", "x"] == bad
    assert ("missing_value", "x") not in hits
    assert set(hits.get(("dtype_cast", "x"), [])).isdisjoint(bad)
    nullable, hits, _ = mapped(x(["null", kind]), x=column)
    assert [i for i, v in enumerate(nullable["x"]) if v is None] == bad
    assert hits["dtype_mismatch", "x"] == bad


def test_a_null_is_found_where_the_contract_demands_a_value() -> None:
    values, hits, _ = mapped(x("double"), x=[None, 1.0])
    assert hits == {("missing_value", "x"): [0]}
    assert np.isnan(values["x"][0])
    values, hits, _ = mapped(x("long", default=3), x=[None, 1])
    assert values["x"] == [3, 1]
    values, hits, _ = mapped(x(["null", "double"]), x=[None, 1.0])
    assert values["x"] == [None, 1.0]
    assert hits == {}


def test_a_column_of_nulls_alone_is_missing_throughout() -> None:
    _, hits, _ = mapped(x("double"), x=pa.nulls(2))
    assert hits == {("missing_value", "x"): [0, 1]}


def test_a_missing_symbol_is_found() -> None:
    _, hits, _ = mapped(k=pa.array([None, "B"]))
    assert hits == {("missing_value", "k"): [0]}
    with pytest.raises(ContractError, match="column 'k' is missing"):
        mapped(other=[1], k=None)


def test_bytes_become_text_silently_and_only_where_they_are_utf_8() -> None:
    raw = raw_record(k="string", t={"type": "long", "logicalType": "timestamp-micros"}, x="bytes")
    columns = {"t": pa.array([MOMENT] * 2), "x": pa.array([b"ok", b"\xff"])}
    values, hits, _ = mapped(x("string"), raw=raw, **columns)
    assert values["x"] == ["ok", ""]
    assert hits == {("dtype_mismatch", "x"): [1]}


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.decimal256(60, 2)])
def test_a_column_that_no_value_can_be_read_from_is_refused_by_name(kind: pa.DataType) -> None:
    with pytest.raises(ContractError, match="column 'x' cannot be read from Arrow's"):
        mapped(x("double"), x=pa.nulls(1, kind))


def test_incoming_flags_are_no_findings_of_ours_whatever_their_type() -> None:
    for flags in (pa.array([9]), pa.array(["x"]), pa.array([None], pa.int64())):
        _, hits, result = mapped(flags=flags)
        assert hits == {}
        assert result.ignored == ()


def test_the_same_time_passes_and_one_outside_the_years_that_are_believed_is_found() -> None:
    raw = raw_record(k="string", t={"type": "long", "logicalType": "timestamp-micros"})
    nanoseconds_by_mistake = MOMENT * 1_000
    values, hits, _ = mapped(raw=raw, t=pa.array([MOMENT, nanoseconds_by_mistake, 2**63 - 1]))
    assert values["t"][0] == MOMENT
    assert hits == {("invalid_timestamp", "t"): [1, 2]}


def test_a_missing_time_is_an_invalid_one() -> None:
    raw = raw_record(k="string", t=["null", {"type": "long", "logicalType": "timestamp-micros"}])
    _, hits, _ = mapped(raw=raw, t=pa.array([None, MOMENT]))
    assert hits == {("invalid_timestamp", "t"): [0]}


def test_a_raw_fields_timezone_goes_before_the_datasets() -> None:
    naive = {"type": {"type": "long", "logicalType": "local-timestamp-micros"}, "timezone": "America/New_York"}
    raw = raw_record(k="string", t=naive)
    local = MOMENT - 5 * 3600 * 1_000_000
    values, hits, _ = mapped(raw=raw, zone="Asia/Tokyo", t=pa.array([local]))
    assert values["t"] == [MOMENT]
    assert hits == {("ts_timezone_normalized", "t"): [0]}


@pytest.mark.parametrize("zone", ["America/Gotham", 5, ""])
def test_an_unknown_timezone_of_a_raw_field_is_refused_and_not_admissible(zone: Any) -> None:
    raw = raw_record(k="string", t={"type": "string", "timezone": zone})
    with pytest.raises(ContractError, match=r"field t: the timezone .* is unknown: use an IANA name"):
        mapped(raw=raw, t=["2024-01-02"])
    assert "is unknown: use an IANA name" in admissible(contract(), raw)[0]


def test_every_field_that_is_a_time_is_read_as_one() -> None:
    seen = {"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]}
    raw = raw_record(
        k="string",
        t={"type": "long", "logicalType": "timestamp-micros"},
        seen={"type": "long", "logicalType": "timestamp-micros"},
    )
    values, hits, _ = mapped(seen, raw=raw, t=pa.array([MOMENT] * 2), seen=pa.array([MOMENT, None]))
    assert values["seen"] == [MOMENT // 1_000, None]
    assert hits == {}
    values, hits, _ = mapped(seen, seen=pa.array(["2024-01-02T14:30:00Z", "never"]))
    assert values["seen"][0] == MOMENT // 1_000
    assert hits == {("ts_cast", "seen"): [0], ("invalid_timestamp", "seen"): [1]}


def frame(data: Any) -> tuple[dict[str, list[Any]], set[str]]:
    result = map_columns(contract(x("double")), one_batch(data), None, "UTC")
    return result.batch.to_pydict(), {h.finding.name for h in result.hits}


def test_a_polars_frame_may_hold_categories_and_datetimes_of_a_zone() -> None:
    moment = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    data = pl.DataFrame(
        {
            "k": pl.Series(["A", "B"], dtype=pl.Categorical),
            "t": pl.Series([moment] * 2).dt.convert_time_zone("Asia/Tokyo"),
            "x": pl.Series([1, 2], dtype=pl.UInt8),
        }
    )
    values, found = frame(data)
    assert values == {"k": ["A", "B"], "t": [MOMENT] * 2, "x": [1.0, 2.0], "flags": [0, 0]}
    assert found == {"ts_timezone_normalized"}


def test_a_polars_frame_may_hold_dates_and_enums() -> None:
    data = pl.DataFrame({"k": pl.Series(["A"], dtype=pl.Enum(["A"])), "t": [date(2024, 1, 2)], "x": ["1"]})
    values, found = frame(data)
    assert values["t"] == [1_704_153_600_000_000]
    assert found == {"ts_cast", "dtype_cast"}


def test_a_pandas_frame_comes_through_arrow() -> None:
    data = pd.DataFrame(
        {"k": pd.Categorical(["A", "B"]), "t": pd.to_datetime(["2024-01-02 14:30"] * 2, utc=True), "x": [1.0, None]}
    )
    values, found = frame(pa.Table.from_pandas(data))
    assert values["k"] == ["A", "B"]
    assert values["t"] == [MOMENT] * 2
    # pandas has no missing float: it says NaN, which Arrow takes for null.
    assert found == {"missing_value"}


def test_a_table_may_be_chunked_or_empty() -> None:
    data = pl.DataFrame({"k": ["A"], "t": [date(2024, 1, 2)], "x": [1.0]}).to_arrow()
    values, _ = frame(pa.concat_tables([data, data]))
    assert values["k"] == ["A", "A"]
    values, found = frame(data.schema.empty_table())
    assert values["k"] == []
    assert found == set()


@pytest.mark.parametrize(
    ("kind", "raw", "reason"),
    [
        ("double", "string", None),
        ("double", ["null", "double"], None),
        ("double", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}, None),
        ("double", "bytes", "field x: a bytes cannot become the contract's double"),
        ("double", "boolean", "field x: a boolean cannot become the contract's double"),
        ("string", "boolean", None),
        ("string", {"type": "fixed", "name": "F", "size": 4}, None),
        ("boolean", "long", "field x: a long cannot become the contract's boolean"),
        ("double", {"type": "array", "items": "double"}, "field x: its type cannot be a column"),
        ("double", ["string", "double"], "field x: its type cannot be a column"),
        (
            "double",
            {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 2},
            "field x: its type cannot be a column",
        ),
        ({"type": "enum", "name": "E", "symbols": ["a"]}, "string", None),
        ({"type": "enum", "name": "E", "symbols": ["a"]}, "long", "field x: a long cannot become the contract's enum"),
    ],
)
def test_a_raw_schema_is_admissible_if_every_field_can_be_had(kind: Any, raw: Any, reason: str | None) -> None:
    found = admissible(contract(x(kind)), raw_record(sym="string", t="string", x=raw))
    assert found == [] if reason is None else found[0].startswith(reason)


def test_a_raw_schema_without_a_field_that_has_no_default_is_not_admissible() -> None:
    made = contract(x("double", aliases=["ex"]), {"name": "y", "type": "double", "default": 0})
    assert admissible(made, raw_record(k="string", t="long")) == [
        "field x: the raw schema has neither 'x' nor one of its aliases (ex), and the contract has no default for it"
    ]


def test_what_flags_a_raw_schema_holds_does_not_matter() -> None:
    assert admissible(contract(), raw_record(k="string", t="long", flags={"type": "array", "items": "int"})) == []


def test_a_decimal_of_an_avro_record_is_a_column_of_decimals() -> None:
    record = raw_record(x={"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2})
    assert arrow_schema(record).field("x").type == pa.decimal128(10, 2)
