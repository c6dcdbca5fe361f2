"""Contract columns in memory: Arrow arrays of plain types.

A time is held as its integer (the contract's units since the epoch); an enum and a key as strings. So every
codec, rule and state speaks of the same few types, and no zone or unit can be changed by a library on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.avro import AvroField, AvroRecord

__all__ = ["arrow_schema", "arrow_type", "empty_like", "neutral", "null_mask", "numbers", "to_polars"]

_TYPES: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "enum": pa.string(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
}
_POLARS_UNITS: Mapping[str | None, Literal["ms", "us", "ns"]] = {
    "timestamp-millis": "ms",
    "timestamp-micros": "us",
    "timestamp-nanos": "ns",
}


def arrow_type(field: AvroField) -> pa.DataType:
    """Return the plain Arrow type of a column's values; a decimal's has its own precision and scale."""
    if field.logical == "decimal" and field.type in {"bytes", "fixed"}:
        return pa.decimal128(field.precision, field.scale)
    return _TYPES[field.type]


def arrow_schema(record: AvroRecord) -> pa.Schema:
    """Return the plain Arrow schema of a record; complex fields are left out."""
    fields = [f for f in record.fields.values() if f.type != "complex"]
    return pa.schema([pa.field(f.name, arrow_type(f), nullable=f.nullable) for f in fields])


def neutral(field: AvroField) -> Any:
    """Return what stands in for a value that cannot be had: the default, else NaN, zero, empty or null."""
    if field.has_default and field.default is not None:
        return field.default
    if field.nullable:
        return None
    if field.type in {"float", "double"}:
        return float("nan")
    if field.type == "enum":
        return field.symbols[0]
    return {"boolean": False, "string": ""}.get(field.type, 0)


def null_mask(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which values of a column are null."""
    mask: npt.NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return mask


def numbers(column: pa.Array) -> npt.NDArray[Any]:
    """Return a numeric column as a numpy array; nulls come out as zeros, so ask the column where they are."""
    if column.null_count:
        column = column.fill_null(0)
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def to_polars(batch: pa.RecordBatch, record: AvroRecord) -> pl.DataFrame:
    """Return plain columns as users want them: times as UTC datetimes of the contract's resolution."""
    frame = pl.DataFrame(batch)
    return frame.with_columns(
        pl.from_epoch(name, _POLARS_UNITS[field.logical]).dt.replace_time_zone("UTC")
        for name, field in record.fields.items()
        if field.logical in _POLARS_UNITS and name in frame.columns
    )


def empty_like(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of no rows."""
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
