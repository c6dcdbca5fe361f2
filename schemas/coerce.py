"""A user's frame as the plain columns of a record schema: strictly, so that nothing is guessed on the way in.

A column must be there and must be of the schema's type. All that is done to values loses nothing: integers and floats
widen as Avro promotes them, and datetimes become the schema's integers. Anything else is an error that names the
column; casting is the business of whoever has the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from schemas.avro import AvroField, AvroRecord
from schemas.columns import arrow_schema, arrow_type
from schemas.errors import SeamlessError
from schemas.times import read_times

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FrameError", "FrameLike", "coerce", "table_of_row"]

FrameLike: TypeAlias = "pl.DataFrame | pd.DataFrame | pa.Table | pa.RecordBatch"

_PER_SECOND = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}
_UNITS = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class FrameError(SeamlessError):
    """A frame does not fit a schema; the message names the column and what to do."""


def coerce(frame: FrameLike, record: AvroRecord, zone: str = "UTC") -> pa.RecordBatch:
    """Return a frame's rows as the plain columns of `record` (see `schemas.columns`), in the schema's order.

    Columns whose field has a default may be left out. Datetimes become integers of the field's unit; those without a
    zone are meant in `zone` (an IANA name), except for local timestamps, which have none.

    Raises:
        FrameError: naming every column that is unknown, missing or of the wrong type, or has a null or a value that
            the schema does not allow.
    """
    table = _table(frame, record)
    names = table.column_names
    problems = [
        f"column {name!r}: it is there {names.count(name)} times: rename one" for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]  # fmt: skip
    unknown = [n for n in dict.fromkeys(names) if n not in record.fields]
    missing = [f.name for f in record.fields.values() if f.name not in names and not f.has_default]
    problems += [f"column {n!r}: the schema {record.name} has no such field: drop or rename it" for n in unknown]
    problems += [f"column {n!r}: it is missing, and the schema has no default for it" for n in missing]
    columns: list[pa.Array] = []
    for field in record.fields.values():
        if names.count(field.name) > 1 or field.name in missing:
            continue
        if field.name not in names:
            columns.append(_absent(field, table.num_rows))
            continue
        try:
            columns.append(_column(field, _whole(table.column(field.name)), zone))
        except _Mismatch as error:
            problems.append(f"column {field.name!r}: {error}")
    if problems:
        raise FrameError("The frame does not fit the schema.\n" + "\n".join(f"  {p}" for p in problems))
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(record))


def table_of_row(row: Mapping[str, Any]) -> pa.Table:
    """Return a row as a table of one.

    Raises:
        FrameError: naming the column whose value no column can hold.
    """
    columns: dict[str, pa.Array] = {}
    for name, value in row.items():
        try:
            columns[str(name)] = pa.array([value])
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise FrameError(
                f"column {str(name)!r}: a value of type {type(value).__name__} fits no column: "
                "give a number, text, bool, bytes, datetime or None"
            ) from None
    return pa.table(columns)


class _Mismatch(Exception):  # noqa: N818 - never leaves this module
    """Why a column does not fit."""


def _table(frame: FrameLike, record: AvroRecord) -> pa.Table:
    if isinstance(frame, pl.DataFrame):
        return frame.to_arrow()
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if any(c.__module__.split(".")[0] == "pandas" and c.__name__ == "DataFrame" for c in type(frame).__mro__):
        return _from_pandas(frame, record)
    raise FrameError(
        f"a {type(frame).__name__} is no frame: give a polars or pandas DataFrame, or a pyarrow Table or RecordBatch"
    )


def _from_pandas(frame: Any, record: AvroRecord) -> pa.Table:
    """pandas writes NaN for what is missing; where nothing may be missing it is a number, for the rules to judge."""
    columns = {}
    for position, name in enumerate(frame.columns):
        field, values = record.fields.get(str(name)), frame.iloc[:, position]
        number = field is not None and field.type in {"float", "double"} and not field.nullable
        try:
            plain = values.to_numpy() if number and values.dtype.kind == "f" else values
            columns[str(name)] = pa.array(plain, from_pandas=plain is values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise FrameError(f"column {str(name)!r}: its values are not of one type: {_first_line(error)}") from None
    if len(columns) != len(frame.columns):
        twice = sorted({str(n) for n in frame.columns if list(map(str, frame.columns)).count(str(n)) > 1})
        raise FrameError(f"columns {', '.join(twice)}: they are there more than once: rename one")
    return pa.table(columns) if columns else pa.table({"": pa.nulls(len(frame))}).select([])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _absent(field: AvroField, n: int) -> pa.Array:
    default = field.default
    if field.type in {"bytes", "fixed"} and isinstance(default, str):
        if field.logical == "decimal":
            raise FrameError(f"column {field.name!r}: its default is a decimal in bytes: give the column yourself")
        default = default.encode("latin-1")  # as the Avro specification writes bytes in JSON
    return pa.repeat(pa.scalar(default, arrow_type(field)), n)


def _column(field: AvroField, column: pa.Array, zone: str) -> pa.Array:
    wanted = arrow_type(field)
    if column.null_count and not field.nullable:
        row = pc.index(column.is_null(), True).as_py()
        raise _Mismatch(f"row {row} is null, but the schema demands a value")
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), wanted)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_temporal(column.type) and field.type in {"int", "long"}:
        return _times(field, column, zone)
    if not _fits(field, column.type):
        raise _Mismatch(f"it is {_name(column.type)}, but the schema wants {_words(field)}: cast it")
    try:
        cast = column if column.type == wanted else column.cast(wanted)
    except pa.ArrowException as error:
        raise _Mismatch(f"a value does not fit {_words(field)}: {_first_line(error)}") from None
    if field.type == "enum":
        _check_symbols(field, cast)
    return cast


def _fits(field: AvroField, have: pa.DataType) -> bool:
    kind, types = field.type, pa.types
    if field.logical == "decimal":
        return bool(types.is_decimal(have))
    if kind in {"int", "long"}:
        return bool(types.is_integer(have))
    if kind == "double":
        return bool(types.is_integer(have) or types.is_floating(have))
    if kind == "float":
        return bool(types.is_float32(have) or types.is_float16(have) or types.is_int8(have) or types.is_int16(have))
    if kind in {"string", "enum"}:
        return _is_text(have)
    if kind == "boolean":
        return bool(types.is_boolean(have))
    return bool(types.is_binary(have) or types.is_large_binary(have) or types.is_fixed_size_binary(have))


def _is_text(have: pa.DataType) -> bool:
    return bool(pa.types.is_string(have) or pa.types.is_large_string(have) or pa.types.is_string_view(have))


def _name(have: pa.DataType) -> str:
    return "text" if _is_text(have) else str(have)


def _times(field: AvroField, column: pa.Array, zone: str) -> pa.Array:
    if field.logical == "date" and pa.types.is_date(column.type):
        return column.cast(pa.date32()).cast(pa.int32())
    local = (field.logical or "").startswith("local-timestamp-")
    per_second = _PER_SECOND.get((field.logical or "").removeprefix("local-").removeprefix("timestamp-"))
    if per_second is None or not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise _Mismatch(f"it is {_name(column.type)}, but the schema wants {_words(field)}: cast it")
    series = pl.Series(column)
    if local and isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
        raise _Mismatch("it has a time zone, but the schema wants local times: drop the zone")
    times = read_times(series, None, per_second, "UTC" if local else zone)
    wrong = times.invalid & ~times.missing
    if wrong.any():
        raise _Mismatch(f"row {int(wrong.argmax())} is no time between 1900 and 2200 in {zone}")
    if isinstance(series.dtype, pl.Datetime):
        finer = _UNITS[series.dtype.time_unit] // per_second
        if finer > 1 and (series.cast(pl.Int64) % finer != 0).any():
            raise _Mismatch(f"it has times finer than {_words(field)} holds: truncate them")
    return pa.array(times.values, pa.int64(), mask=times.missing)


def _check_symbols(field: AvroField, column: pa.Array) -> None:
    strange = [v for v in column.unique().to_pylist() if v is not None and v not in field.symbols]
    if strange:
        raise _Mismatch(f"{_some(strange)} is none of {', '.join(field.symbols)}")


def _some(values: Sequence[Any]) -> str:
    return ", ".join(repr(v) for v in values[:3]) + (", ..." if len(values) > 3 else "")


def _words(field: AvroField) -> str:
    logical = f" ({field.logical})" if field.logical else ""
    return f"{field.type}{logical}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
