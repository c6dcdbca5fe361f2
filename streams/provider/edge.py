"""Where history ends and what may still come begins: which missing bars to fetch, which to wait for. Pure.

Times are nanoseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from coordinator.ranges import Range
from schemas.grid import Grid

__all__ = ["counted_until", "edge_since", "is_passed_over", "split_at_edge"]

_BARS = 2
_LONGEST_NS = 15 * 60 * 1_000_000_000


def counted_until(grid: Grid, start: int, end: int, now: int) -> int:
    """Return where what can be expected of a range ends: its end, or the start of the first bar that has not ended."""
    if start >= end:
        return end
    expected = grid.expected(start, end)
    first, behind = (int(n) for n in expected.before(np.array([start, end], np.int64)))
    if first == behind or int(expected.ends(np.array([behind - 1]))[0]) <= now:
        return end
    numbers = np.arange(first, behind, dtype=np.int64)
    unended = int(np.searchsorted(expected.ends(numbers), now, side="right"))
    return max(start, min(end, int(expected.starts(numbers[unended : unended + 1])[0])))


def edge_since(interval_ns: int, now: int) -> int:
    """Return the moment since which a bar must have ended to be one that may still come.

    A bar takes its time through producer and normalizer, but not a day, however long it is.
    """
    return now - min(_BARS * interval_ns, _LONGEST_NS)


def split_at_edge(grid: Grid, missing: Iterable[Range], since: int) -> tuple[list[Range], list[Range]]:
    """Part missing ranges, none cut within a bar: bars that ended by `since`, and those that may still come."""
    past, edge = [], []
    for hole in missing:
        if hole.end <= since:
            past.append(hole)
            continue
        expected = grid.expected(hole.start, hole.end)
        first, behind = (int(n) for n in expected.before(np.array([hole.start, hole.end], np.int64)))
        numbers = np.arange(first, behind, dtype=np.int64)
        ended = int(np.searchsorted(expected.ends(numbers), since, side="right")) if len(numbers) else 0
        if ended == 0:
            edge.append(hole)
        elif ended == len(numbers):
            past.append(hole)
        else:
            border = int(expected.starts(numbers[ended : ended + 1])[0])
            past.append(Range(hole.start, border))
            edge.append(Range(border, hole.end))
    return past, edge


def is_passed_over(hole: Range, watermark: int | None) -> bool:
    """Return whether a later bar of the same partition shows that a missing one will not come.

    Args:
        watermark: greatest event time of any symbol in the partition; None if nothing of it is known.
    """
    return watermark is not None and watermark >= hole.end
