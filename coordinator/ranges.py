"""Ranges of time and what sets of them have in common; every function is one sweep.

A set of ranges is a sequence in rising order in which no two overlap or touch and none is empty: what `normalised`
returns. The other functions take and return such sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

__all__ = ["Range", "intersection", "normalised", "subtracted", "total_length", "union"]


@dataclass(frozen=True, slots=True)
class Range:
    """From `start` up to and without `end`, nanoseconds since the epoch; of no time at all if `end` is not after."""

    start: int
    end: int

    @property
    def empty(self) -> bool:
        """Whether no instant lies in it."""
        return self.end <= self.start


def normalised(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return any ranges, in any order and overlapping as they may, as a set."""
    merged: list[Range] = []
    start = end = None
    for range_ in sorted(ranges, key=attrgetter("start")):
        if range_.end <= range_.start:
            continue
        if start is None or end is None:
            start, end = range_.start, range_.end
        elif range_.start <= end:
            end = max(end, range_.end)
        else:
            merged.append(Range(start, end))
            start, end = range_.start, range_.end
    if start is not None and end is not None:
        merged.append(Range(start, end))
    return tuple(merged)


def union(one: Sequence[Range], other: Sequence[Range]) -> tuple[Range, ...]:
    """Return what lies in either set."""
    return normalised((*one, *other))


def intersection(one: Sequence[Range], other: Sequence[Range]) -> tuple[Range, ...]:
    """Return what lies in both sets."""
    common: list[Range] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i].start, other[j].start), min(one[i].end, other[j].end)
        if start < end:
            common.append(Range(start, end))
        if one[i].end <= other[j].end:
            i += 1
        else:
            j += 1
    return tuple(common)


def subtracted(one: Sequence[Range], other: Sequence[Range]) -> tuple[Range, ...]:
    """Return what lies in the first set and not in the second."""
    rest: list[Range] = []
    j = 0
    for range_ in one:
        start = range_.start
        while j < len(other) and other[j].end <= start:
            j += 1
        i = j  # the last of them may reach into the next range too
        while i < len(other) and other[i].start < range_.end:
            if start < other[i].start:
                rest.append(Range(start, other[i].start))
            start = other[i].end
            i += 1
        if start < range_.end:
            rest.append(Range(start, range_.end))
        j = max(j, i - 1)
    return tuple(rest)


def total_length(ranges: Iterable[Range]) -> int:
    """Return the nanoseconds that a set of ranges lasts."""
    return sum(range_.end - range_.start for range_ in ranges)
