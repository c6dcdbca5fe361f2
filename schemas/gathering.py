"""Brings the parts of a batch, each of its own raw schema, together as contract columns in arrival order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.batch import Failure, Part
from schemas.columns import empty_like
from schemas.contract import Contract
from schemas.mapping import map_columns
from schemas.rules import Hit

__all__ = ["Gathered", "gather", "one_batch"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows as contract columns, in arrival order, at positions `at` (None: all), with the repairs."""

    columns: pa.RecordBatch
    at: Ints | None
    hits: list[Hit]
    ignored: tuple[str, ...]


def gather(contract: Contract, parts: Sequence[Part], failures: Sequence[Failure], zone: str) -> Gathered:
    """Map every part and put the rows into arrival order.

    Raises:
        ContractError: if a part cannot be mapped; see `map_columns`.
        ValueError: if parts and failures are not the rows of one batch.
    """
    mapped = [map_columns(contract, p.batch, p.raw, zone) for p in parts]
    ignored = tuple(dict.fromkeys(c for m in mapped for c in m.ignored))
    if len(parts) == 1 and parts[0].rows is None and not failures:
        return Gathered(mapped[0].batch, None, mapped[0].hits, ignored)
    positions = _positions(parts, failures)
    order = np.argsort(positions, kind="stable")
    joined = pa.concat_batches([m.batch for m in mapped]) if mapped else empty_like(contract.columns)
    if not np.array_equal(order, np.arange(len(order))):
        joined = joined.take(pa.array(order))
    found, start = [], 0
    for m in mapped:
        span = slice(start, start + m.batch.num_rows)
        found += [(span, hit) for hit in m.hits]
        start = span.stop
    return Gathered(joined, positions[order] if failures else None, _join_hits(found, order), ignored)


def one_batch(frame: pl.DataFrame | pa.Table | pa.RecordBatch) -> pa.RecordBatch:
    """Return a frame as one record batch."""
    if isinstance(frame, pa.RecordBatch):
        return frame
    table = frame.to_arrow() if isinstance(frame, pl.DataFrame) else frame
    columns = [
        pa.array([], c.type) if not c.num_chunks else c.chunk(0) if c.num_chunks == 1 else c.combine_chunks()
        for c in table.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _positions(parts: Sequence[Part], failures: Sequence[Failure]) -> Ints:
    """Return the positions of all parts' rows, part after part."""
    found = [p.rows if p.rows is not None else np.arange(p.batch.num_rows) for p in parts]
    positions = np.concatenate([np.zeros(0, np.int64), *found])
    failed = np.array([f.row for f in failures], np.int64)
    everything = np.concatenate((positions, failed))
    total = sum(p.batch.num_rows for p in parts) + len(failures)
    if not np.array_equal(np.sort(everything), np.arange(total)):
        raise ValueError("parts and failures must be all the rows of a batch, each once")
    return positions


def _join_hits(hits: Sequence[tuple[slice, Hit]], order: Ints) -> list[Hit]:
    """Bring hits on spans of the parts' rows into arrival order, one per finding and column."""
    joined: dict[tuple[str, str | None], Hit] = {}
    for span, hit in hits:
        rows = np.zeros(len(order), np.bool_)
        rows[span] = True if hit.rows is None else hit.rows
        have = joined.get((hit.finding.name, hit.column))
        mask = rows[order] if have is None else rows[order] | have.mask(len(order))
        joined[hit.finding.name, hit.column] = Hit(hit.finding, hit.column, mask)
    return list(joined.values())
