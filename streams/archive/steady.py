"""The position guard for topics that are written in transactions.

Each transaction leaves a mark that takes an offset and is never delivered, so such topics are full of gaps. To have
each of them confirmed by a second delivery would be to read everything twice. What the guard is there for, records lost
on their way out of the client, happens where a delivery begins or is broken: an assignment, a seek, a pause, an error.
So a gap at the beginning of a delivery is confirmed as ever, and in the steady flow behind it gaps are believed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.positions import PositionGuard, Verdict

__all__ = ["SteadyGuard"]

Ints = npt.NDArray[np.int64]


class SteadyGuard(PositionGuard):
    """Knows the next offset of every partition, and which deliveries are unbroken."""

    def __init__(self) -> None:
        super().__init__()
        self._steady: set[int] = set()

    def expect(self, partition: int, offset: int) -> None:
        """Say which offset comes next; the delivery from there has yet to prove itself."""
        self._steady.discard(partition)
        super().expect(partition, offset)

    def forget(self, partition: int) -> None:
        """Stop watching a partition."""
        self._steady.discard(partition)
        super().forget(partition)

    def disturbed(self) -> None:
        """Every delivery was, or may have been, broken."""
        self._steady.clear()

    def let_through(self, partition: int, offsets: Ints) -> Verdict:
        """Judge records of one partition in the order of their delivery and advance past those let through."""
        expected = self._next[partition]
        fresh = np.flatnonzero(offsets >= expected)
        if len(fresh):
            start = int(fresh[0])
            rest = offsets[start:]
            first = int(rest[0])
            proven = first == expected or (expected, first) in self._seen.get(partition, frozenset())
            if (proven or partition in self._steady) and bool((np.diff(rest) > 0).all()):
                self._seen.pop(partition, None)
                self._steady.add(partition)
                self._next[partition] = int(rest[-1]) + 1
                return Verdict(start, len(offsets))
            self._steady.discard(partition)
        return super().let_through(partition, offsets)

    def end_reached(self, partition: int, end: int) -> int | None:
        """Judge the news that a partition has no record from the expected offset up to `end`."""
        if partition in self._steady:
            self._next[partition] = max(end, self._next[partition])
            return None
        seek_to = super().end_reached(partition, end)
        self._note(partition, proven=seek_to is None and self._next[partition] == end)
        return seek_to

    def _note(self, partition: int, *, proven: bool) -> None:
        (self._steady.add if proven else self._steady.discard)(partition)
