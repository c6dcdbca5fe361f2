"""A long range in pieces that fit into memory: one after the other in time, each as a read of its own would give it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from streams.archive.reader import ArchiveRows, ArchiveSnapshot, Moment, nanoseconds
from streams.clock import Deadline

__all__ = ["next_width", "pieces"]

_FIRST_SHARE = 64
_MOST_GROWTH = 4.0
_NARROWEST_NS = 1_000_000


def pieces(
    snapshot: ArchiveSnapshot,
    symbols: Collection[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    as_of: Moment | None = None,
    *,
    rows: int = 100_000,
    deadline: Deadline | None = None,
) -> Iterator[ArchiveRows]:
    """Yield the rows of a range in their order, about so many at a time; pieces without rows are left out.

    How wide in time a piece has to be is learnt from those before, so a burst may make one larger than wanted.

    Args:
        start, end: None for where the table's first and last rows are.
        deadline: for each wait for the storage.

    Raises:
        ArchiveUnavailable: if the storage does not answer, or not in time.
    """
    span = snapshot.span()
    if span is None:
        return
    # Nothing lies outside of the span, so a range of centuries costs no empty pieces.
    at = span[0] if start is None else max(span[0], nanoseconds(start))
    until = span[1] + 1 if end is None else min(span[1] + 1, nanoseconds(end))
    width = max(_NARROWEST_NS, (until - at) // _FIRST_SHARE)
    while at < until:
        stop = min(until, at + width)
        found = snapshot.read(symbols, at, stop, as_of, deadline)
        if found.frame.height > _MOST_GROWTH * rows and stop - at > _NARROWEST_NS:
            width = next_width(stop - at, found.frame.height, rows)
            continue
        if found.frame.height:
            yield found
        width, at = next_width(stop - at, found.frame.height, rows), stop


def next_width(width: int, found: int, wanted: int) -> int:
    """Return how wide the next piece should be, after one of that width had so many rows."""
    factor = min(_MOST_GROWTH, wanted / found) if found else _MOST_GROWTH
    return max(_NARROWEST_NS, int(width * factor))
