"""The position guard: a record is processed only if it is the one that follows the last.

Kafka never checks that committed offsets are contiguous, so a record lost between poll and commit would be skipped
without a trace. A record below the expected offset is stale and dropped. One above it is believed only if the broker
delivers it again at once after a seek to the expected offset: then the offsets between hold control records (of
transactions) or were compacted, and no data. The end of a partition is believed in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["PositionGuard", "Verdict"]

Ints = npt.NDArray[np.int64]
Gap = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of some records may be processed: those from `start` up to `stop`; then, perhaps, seek."""

    start: int
    stop: int
    seek_to: int | None = None


class PositionGuard:
    """Knows the next offset of every partition."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        # Gaps seen before the latest seek, as (expected, found).
        self._seen: dict[int, frozenset[Gap]] = {}

    def __contains__(self, partition: int) -> bool:
        return partition in self._next

    def expect(self, partition: int, offset: int) -> None:
        """Say which offset comes next; anything else is stale or a gap."""
        self._next[partition] = offset
        self._seen.pop(partition, None)

    def forget(self, partition: int) -> None:
        """Stop watching a partition."""
        self._next.pop(partition, None)
        self._seen.pop(partition, None)

    def partitions(self) -> list[int]:
        """Return the partitions that are watched."""
        return list(self._next)

    def next(self, partition: int) -> int:
        """Return the offset that follows the last record that was let through."""
        return self._next[partition]

    def let_through(self, partition: int, offsets: Ints) -> Verdict:
        """Judge records of one partition in the order of their delivery and advance past those let through.

        Nothing more of the partition may be judged before the seek that a verdict asks for.
        """
        n = len(offsets)
        expected = self._next[partition]
        # Only the first delivery after a seek can confirm what was seen before it.
        seen = self._seen.pop(partition, frozenset())
        if int(offsets[0]) == expected and bool((offsets[1:] - offsets[:-1] == 1).all()):
            self._next[partition] = expected + n
            return Verdict(0, n)
        fresh = np.flatnonzero(offsets >= expected)
        if not len(fresh):
            return Verdict(n, n)
        start = int(fresh[0])
        before = np.concatenate(([expected - 1], offsets[start:-1]))
        breaks = start + np.flatnonzero(offsets[start:] != before + 1)
        gaps = [(int(before[at - start]) + 1, int(offsets[at])) for at in breaks]
        for at, gap in zip(breaks.tolist(), gaps, strict=True):
            # Offsets that go back are a mix-up of the delivery, however often they come.
            if gap[1] < gap[0] or gap not in seen:
                self._seen[partition] = frozenset(g for g in gaps if g[1] > g[0])
                self._next[partition] = gap[0]
                return Verdict(start, at, seek_to=gap[0])
        self._next[partition] = int(offsets[-1]) + 1
        return Verdict(start, n)

    def end_reached(self, partition: int, end: int) -> int | None:
        """Judge the news that a partition has no record from the expected offset up to `end`.

        Returns:
            Where to seek so that it can be believed, or None if it is believed (or no news).
        """
        gap = (self._next[partition], end)
        if end <= gap[0]:
            return None
        if gap not in self._seen.pop(partition, frozenset()):
            self._seen[partition] = frozenset([gap])
            return gap[0]
        self._next[partition] = end
        return None
