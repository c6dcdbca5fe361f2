"""Casts of whole columns to a contract's types; what does not fit becomes null."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from schemas.avro import AvroField
from schemas.errors import ContractError

__all__ = ["cast", "promotes", "to_series"]

_PROMOTIONS = frozenset(
    {
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("enum", "string"),
        ("bytes", "string"),
    }
)
_INTEGER_BOUNDS = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_POLARS: Mapping[str, type[pl.DataType]] = {
    "boolean": pl.Boolean,
    "int": pl.Int32,
    "long": pl.Int64,
    "float": pl.Float32,
    "double": pl.Float64,
    "string": pl.String,
    "enum": pl.String,
}


def to_series(field: AvroField, column: pa.Array) -> pl.Series:
    """Return an Arrow column as a polars series; encoded text becomes plain text.

    Raises:
        ContractError: if no value of the column's type can become a contract's.
    """
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        kind = kind.value_type if pa.types.is_dictionary(kind) else pa.string()
        column = column.cast(kind)
    if pa.types.is_nested(kind) or pa.types.is_decimal256(kind):
        raise ContractError(f"column {field.name!r} cannot be read from Arrow's {kind}: flatten or cast it")
    try:
        return pl.Series(column)
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"column {field.name!r} cannot be read from Arrow's {kind}: {error}") from error


def promotes(field: AvroField, raw: AvroField | None, dtype: pl.DataType) -> bool:
    """Return whether a cast keeps to Avro's promotions, or to what stands for one in a frame without Avro types."""
    kind = field.type
    if kind == "enum":
        return True  # Symbols are text wherever they come from; the one thing to find is one that is unknown.
    if raw is not None and (raw.type, kind) in _PROMOTIONS:
        return True
    if dtype.is_integer():
        return kind in {"double", "float"} or (kind == "long" and dtype not in {pl.UInt64, pl.Int128, pl.UInt128})
    return (dtype == pl.Float32 and kind == "double") or (dtype == pl.String and kind == "string")


def cast(series: pl.Series, field: AvroField) -> pl.Series:
    """Cast to a contract's type; null where a value does not fit it."""
    if field.type == "string":
        return _text(series)
    if field.type == "enum":
        text = _text(series)
        return text.set(~text.is_in(field.symbols).fill_null(True), None)
    if field.type == "boolean":
        words = _text(series).str.to_lowercase()
        return words.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    elif series.dtype == pl.Date and field.logical == "date":
        series = series.to_physical()
    elif not series.dtype.is_numeric():
        return pl.Series(series.name, [None] * len(series), dtype=_POLARS[field.type])
    if field.type in _INTEGER_BOUNDS:
        return _integer(series, field.type)
    return series.cast(_POLARS[field.type], strict=False)


def _integer(series: pl.Series, kind: str) -> pl.Series:
    """Cast to an integer; null where a value has a fraction or is too great."""
    least, most = _INTEGER_BOUNDS[kind]
    if series.dtype.is_float():
        floats = series.cast(pl.Float64)
        # The bound after the greatest integer is a double, while the greatest long is none.
        fits = (floats == floats.floor()) & (floats >= float(least)) & (floats < float(most + 1))
        series = floats.set(~fits.fill_null(True), None)
    elif series.dtype.is_decimal():
        whole = series.cast(pl.Int64, strict=False)
        exact = whole.cast(series.dtype, strict=False) == series
        series = whole.set(~exact.fill_null(False), None)
    elif series.dtype == pl.String:
        series = series.cast(pl.Int64, strict=False)
    return series.cast(_POLARS[kind], strict=False)


def _text(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Binary:
        return pl.Series(series.name, list(map(_utf8, series)), dtype=pl.String)
    return series.cast(pl.String, strict=False)


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
