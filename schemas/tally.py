"""Counts what was found in a batch, and tells where the first of it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.batch import Failure, Origin
from schemas.findings import Severity
from schemas.report import EXAMPLES, FindingCount, OffsetRange
from schemas.rules import Hit

__all__ = ["count_failures", "count_hits", "ranges_of"]

Ints = npt.NDArray[np.int64]


def count_hits(hits: Sequence[Hit], n: int, at: Ints | None, origin: Origin) -> list[FindingCount]:
    """Count the rows of each hit.

    Args:
        n: how many rows were judged.
        at: their positions in the batch; None if they are the whole batch.
    """
    counts = []
    for hit in hits:
        rows = np.arange(n) if hit.rows is None else np.flatnonzero(hit.rows)
        first = rows[:EXAMPLES] if at is None else at[rows[:EXAMPLES]]
        found = _count(hit.finding.name, hit.finding.severity, hit.column, len(rows), first, origin)
        if hit.excepted or hit.version is not None:
            found = found.model_copy(update={"excepted": hit.excepted, "contract_version": hit.version})
        counts.append(found)
    return counts


def count_failures(failures: Sequence[Failure], origin: Origin) -> list[FindingCount]:
    """Count the rows of each kind of failure."""
    rows: dict[str, list[int]] = {}
    for failure in failures:
        rows.setdefault(failure.flag, []).append(failure.row)
    return [
        _count(flag, Severity.VIOLATION, None, len(found), np.array(sorted(found)[:EXAMPLES], np.int64), origin)
        for flag, found in rows.items()
    ]


def ranges_of(origin: Origin) -> tuple[OffsetRange, ...]:
    """Return first and last offset of each partition, by partition."""
    if not len(origin.offsets):
        return ()
    first = origin.partitions[0]
    if (origin.partitions == first).all():
        return (_range(int(first), origin.offsets),)
    present = np.flatnonzero(np.bincount(origin.partitions))
    return tuple(_range(int(p), origin.offsets[origin.partitions == p]) for p in present)


def _range(partition: int, offsets: Ints) -> OffsetRange:
    return OffsetRange(partition=partition, first=int(offsets.min()), last=int(offsets.max()), rows=len(offsets))


def _count(flag: str, severity: Severity, column: str | None, number: int, first: Ints, origin: Origin) -> FindingCount:
    places = tuple(f"{origin.partitions[i]}:{origin.offsets[i]}" for i in first)
    return FindingCount(flag=flag, severity=severity, column=column, count=number, examples=places)
