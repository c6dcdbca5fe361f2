"""Schema evolution on columns: a raw frame becomes the contract's columns.

Names are matched as Avro resolution matches them: the field's own name, then its aliases in order. Types widen as
Avro promotes them, silently; any other change of type is a cast and is flagged. What cannot be had is filled with a
neutral value and found, so that shadow mode can pass the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.avro import AvroField, AvroRecord
from schemas.casts import cast, promotes, to_series
from schemas.columns import arrow_type, neutral, null_mask, numbers
from schemas.contract import TIME_UNITS, Contract
from schemas.errors import ContractError
from schemas.rules import Hit
from schemas.times import believed, known_zone, read_times

__all__ = ["UNREAD", "Located", "Mapped", "admissible", "column_of", "locate", "map_columns"]

Mask = npt.NDArray[np.bool_]

# Findings that say that a value could not be had: what stands in its place is judged by no rule.
UNREAD = frozenset({"dtype_mismatch", "missing_value", "invalid_timestamp"})


@dataclass(frozen=True, slots=True)
class Mapped:
    """A raw frame as contract columns.

    Attributes:
        batch: the contract's columns; flags are whatever they were, and are written anew later.
        hits: what was repaired or could not be.
        ignored: raw columns that the contract has no place for.
    """

    batch: pa.RecordBatch
    hits: list[Hit]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """Whose rows these are, and of when.

    Attributes:
        keys: text; meaningless where `unread`.
        times: the contract's units since the epoch; meaningless where `unread`.
        hits: why a key or a time could not be read.
        unread: rows without a readable key or time.
    """

    keys: pa.Array
    times: npt.NDArray[np.int64]
    hits: list[Hit]
    unread: Mask

    def only(self, rows: npt.NDArray[np.int64]) -> Located:
        """Return some of the rows."""
        n = len(self.unread)
        hits = [Hit(h.finding, h.column, h.mask(n)[rows]) for h in self.hits]
        return Located(self.keys.take(pa.array(rows)), self.times[rows], hits, self.unread[rows])


def admissible(contract: Contract, raw: AvroRecord) -> list[str]:
    """Return why the contract cannot conform a raw schema; empty if it can."""
    reasons = []
    for field in contract.record.fields.values():
        name = _source(field, set(raw.fields))
        if field.name == contract.flags:
            continue
        if name is None:
            if not field.has_default:
                reasons.append(
                    f"field {field.name}: the raw schema has neither {field.name!r} nor one of its aliases "
                    f"({', '.join(field.aliases) or 'none'}), and the contract has no default for it"
                )
            continue
        source = raw.fields[name]
        if source.type == "complex":
            reasons.append(f"field {name}: its type cannot be a column of the contract: flatten it")
        elif not _castable(source, field):
            reasons.append(f"field {name}: a {source.type} cannot become the contract's {field.type}")
        elif _is_time(field) and not known_zone(source.attributes.get("timezone", "UTC")):
            reasons.append(f"field {name}: {_bad_zone(source.attributes['timezone'])}")
    return reasons


def map_columns(contract: Contract, batch: pa.RecordBatch, raw: AvroRecord | None, zone: str) -> Mapped:
    """Map a raw batch to the contract.

    Args:
        batch: raw columns by their raw names.
        raw: the raw Avro record, which tells logical types; None for frames that carry types of their own.
        zone: IANA zone of naive times; a raw field's `timezone` attribute goes before it.

    Raises:
        ContractError: if a column is missing that has no default, a column's type cannot be read at all, or a
            `timezone` attribute names no zone.
    """
    if raw is not None and _conforms(contract, batch, raw):
        return Mapped(batch, [], ())
    have = set(batch.schema.names)
    hits: list[Hit] = []
    columns, used = [], set()
    for field in contract.record.fields.values():
        name = _source(field, have)
        if field.name == contract.flags:
            columns.append(_flags(batch, field))
            continue
        if name is None:
            columns.append(_absent(contract, field, batch.num_rows, hits))
            continue
        used.add(name)
        source = raw.fields.get(name) if raw else None
        read = _read(field, source, batch.column(name), zone)
        columns.append(read.column)
        hits += [
            Hit(contract.findings[found], field.name, None if rows.all() else rows)
            for found, rows in read.found.items()
            if rows.any()
        ]
    ignored = tuple(n for n in batch.schema.names if n not in used and n != contract.flags)
    return Mapped(pa.RecordBatch.from_arrays(columns, schema=contract.columns), hits, ignored)


def column_of(contract: Contract, field: str, have: set[str]) -> str | None:
    """Return which of the raw columns `have` becomes a field of the contract; None if none does."""
    return _source(contract.record.fields[field], have)


def locate(contract: Contract, batch: pa.RecordBatch, raw: AvroRecord | None, zone: str) -> Located:
    """Read only the keys and event times of a raw batch, as `map_columns` reads them; the arguments are its.

    Raises:
        ContractError: if one of the two columns is missing or cannot be read at all.
    """
    have = set(batch.schema.names)
    hits: list[Hit] = []
    columns, unread = [], np.zeros(batch.num_rows, np.bool_)
    for field in (contract.record.fields[contract.key], contract.record.fields[contract.event_time]):
        name = _source(field, have)
        if name is None:
            known = ", ".join((field.name, *field.aliases))
            raise ContractError(f"column {field.name!r} is missing: none of {known} is among {', '.join(sorted(have))}")
        read = _read(field, raw.fields.get(name) if raw else None, batch.column(name), zone)
        columns.append(read.column)
        for found, rows in read.found.items():
            if found in UNREAD and rows.any():
                hits.append(Hit(contract.findings[found], field.name, rows))
                unread |= rows
    return Located(columns[0], numbers(columns[1]), hits, unread)


def _conforms(contract: Contract, batch: pa.RecordBatch, raw: AvroRecord) -> bool:
    """Return whether a batch was written under the contract itself, and all its times are believed."""
    if raw.schema != contract.schema or batch.schema != contract.columns:
        return False
    return not any(c.null_count for c in batch.columns) and all(
        believed(numbers(batch.column(f.name)), TIME_UNITS[f.logical or ""])
        for f in contract.record.fields.values()
        if _is_time(f)
    )


def _source(field: AvroField, have: set[str]) -> str | None:
    return next((n for n in (field.name, *field.aliases) if n in have), None)


def _flags(batch: pa.RecordBatch, field: AvroField) -> pa.Array:
    """Return the raw flags where they are integers, as most of the time they need not be copied, else zeros."""
    index = batch.schema.get_field_index(field.name)
    if index >= 0 and batch.column(index).type == pa.int64() and not batch.column(index).null_count:
        return batch.column(index)
    return pa.array(np.zeros(batch.num_rows, np.int64))


def _absent(contract: Contract, field: AvroField, n: int, hits: list[Hit]) -> pa.Array:
    if not field.has_default:
        raise ContractError(f"column {field.name!r} is missing and the contract has no default for it")
    if n:
        hits.append(Hit(contract.findings["missing_column"], field.name, None))
    return pa.repeat(pa.scalar(neutral(field), arrow_type(field)), n)


def _is_time(field: AvroField) -> bool:
    return field.type == "long" and field.logical in TIME_UNITS


def _castable(raw: AvroField, field: AvroField) -> bool:
    if _is_time(field):
        return raw.type in {"int", "long", "float", "double", "string"}
    if field.type == "enum":
        return raw.type in {"enum", "string"}
    if field.type == "boolean":
        return raw.type in {"boolean", "string"}
    if raw.type in {"bytes", "fixed"}:
        return raw.logical == "decimal" or field.type == "string"
    return raw.type != "boolean" or field.type == "string"


def _bad_zone(zone: object) -> str:
    return f"the timezone {zone!r} is unknown: use an IANA name such as America/New_York"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the contract's type, and by name of the finding the rows where something was found."""

    column: pa.Array
    found: Mapping[str, Mask]


def _read(field: AvroField, raw: AvroField | None, column: pa.Array, zone: str) -> _Column:
    """Read one column as the contract's field."""
    if _is_time(field):
        return _read_time(field, raw, column, zone)
    wanted = arrow_type(field)
    if column.type == wanted and not (field.type == "enum" and not _same_symbols(field, raw)):
        return _without_nulls(field, column, {})
    series = to_series(field, column)
    promoted = promotes(field, raw, series.dtype)
    values = cast(series, field)
    mismatched = (values.is_null() & series.is_not_null()).to_numpy()
    found = {"dtype_mismatch": mismatched}
    if not promoted:
        found["dtype_cast"] = values.is_not_null().to_numpy()
    return _without_nulls(field, values.to_arrow().cast(wanted), found)


def _read_time(field: AvroField, raw: AvroField | None, column: pa.Array, zone: str) -> _Column:
    per_second = TIME_UNITS[field.logical or ""]
    is_same = raw is not None and raw.logical == field.logical and column.type == pa.int64()
    if is_same and (field.nullable or not column.null_count) and believed(numbers(column), per_second):
        return _Column(column, {})
    if raw is not None:
        zone = raw.attributes.get("timezone", zone)
        if not known_zone(zone):
            raise ContractError(f"field {raw.name}: {_bad_zone(zone)}")
    times = read_times(to_series(field, column), raw.logical if raw else None, per_second, zone)
    unread = times.invalid if field.nullable else times.invalid | times.missing
    values = np.where(times.invalid | times.missing, 0, times.values)
    return _Column(
        pa.array(values, pa.int64(), mask=times.missing if field.nullable else None),
        {"ts_cast": times.cast, "ts_timezone_normalized": times.zoned, "invalid_timestamp": unread},
    )


def _without_nulls(field: AvroField, column: pa.Array, found: Mapping[str, Mask]) -> _Column:
    """Put a neutral value where the contract demands one and there is none."""
    if not column.null_count or field.nullable:
        return _Column(column, found)
    missing = null_mask(column)
    if "dtype_mismatch" in found:
        missing &= ~found["dtype_mismatch"]
    filled = column.fill_null(pa.scalar(neutral(field), column.type))
    return _Column(filled, {**found, "missing_value": missing})


def _same_symbols(field: AvroField, raw: AvroField | None) -> bool:
    return raw is not None and raw.type == "enum" and set(raw.symbols) <= set(field.symbols)
