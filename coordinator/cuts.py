"""How holes are cut into pieces of about equal size, and the pieces dealt out to partitions: plain arithmetic.

A hole is cut between bars; at midnight UTC where that is near, so that pieces of several days are whole days and a file
or a page of a day is read once. Symbols that miss the same range share a piece while it stays within the target.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from coordinator.ranges import Range
from schemas.expected import Expected
from schemas.grid import DAY

__all__ = ["Hole", "Piece", "cut", "dealt", "pieces_of"]

Ints = npt.NDArray[np.int64]

# A cut moves by at most this part of a piece to reach a midnight, so a piece has at most 1 + 2/8 of the target's rows.
_NEAR = 8


@dataclass(frozen=True, slots=True)
class Hole:
    """A range that some symbols miss.

    Attributes:
        range: what they miss.
        symbols: sorted.
        first: number of its first bar.
        bars: how many bars lie in it.
        rows: estimated rows of one symbol, at least 1.
    """

    range: Range
    symbols: tuple[str, ...]
    first: int
    bars: int
    rows: int

    def shape(self, target_rows: int) -> tuple[int, int]:
        """Return into how many parts its time is cut, and its symbols."""
        parts = min(-(-self.rows // target_rows), max(self.bars, 1))
        return parts, -(-len(self.symbols) // max(1, target_rows // self.rows))


class Piece(NamedTuple):
    """What one shard fetches; pieces sort by time."""

    start: int
    end: int
    symbols: tuple[str, ...]
    rows: int


def pieces_of(holes: Sequence[Hole], target_rows: int) -> int:
    """Return into how many pieces holes would be cut."""
    shapes = (hole.shape(target_rows) for hole in holes)
    return sum(parts * groups for parts, groups in shapes)


def cut(holes: Sequence[Hole], expected: Expected, target_rows: int) -> list[Piece]:
    """Return the pieces of holes, by time; they tile every hole for each of its symbols.

    Args:
        holes: no two of them for the same symbol overlap.
        expected: the bars that `first` and `bars` of the holes count.
        target_rows: rows that a piece should have, about; one of a single bar and symbol may have more.
    """
    shapes = [hole.shape(target_rows) for hole in holes]
    times, numbers = _cuts(holes, [parts for parts, _ in shapes], expected)
    pieces: list[Piece] = []
    done = 0
    for hole, (parts, groups) in zip(holes, shapes, strict=True):
        inner = slice(done, done + parts - 1)
        done += parts - 1
        borders = pairwise((hole.range.start, *times[inner], hole.range.end))
        bars = pairwise((hole.first, *numbers[inner], hole.first + hole.bars))
        shared = _grouped(hole.symbols, groups)
        for (start, end), (low, high) in zip(borders, bars, strict=True):
            rows = max(1, -(-hole.rows * (high - low) // hole.bars)) if hole.bars else hole.rows
            pieces += [Piece(start, end, symbols, rows * len(symbols)) for symbols in shared]
    return sorted(pieces)


def dealt(rows: Sequence[int], partitions: int, first: int) -> list[int]:
    """Return a partition for each piece: the largest first, each to where the least is.

    No partition gets more than the mean and one piece. Ties go round from partition `first`, so that many jobs of one
    piece do not all fall on the same.
    """
    loads = [(0, turn) for turn in range(partitions)]
    partition = [0] * len(rows)
    for piece in sorted(range(len(rows)), key=lambda i: -rows[i]):
        load, turn = loads[0]
        partition[piece] = (first + turn) % partitions
        heapq.heapreplace(loads, (load + rows[piece], turn))
    return partition


def _cuts(holes: Sequence[Hole], parts: Sequence[int], expected: Expected) -> tuple[list[int], list[int]]:
    """Return where the holes are cut, one hole after the other: times, and numbers of the bars that follow."""
    counts = np.array(parts, np.int64)
    if not (counts > 1).any():
        return [], []
    hole = np.repeat(np.arange(len(holes)), counts - 1)
    turn = np.arange(len(hole)) - np.repeat(np.cumsum(counts - 1) - (counts - 1), counts - 1) + 1
    first, bars = (np.array([getattr(h, name) for h in holes], np.int64)[hole] for name in ("first", "bars"))
    numbers = first + bars * turn // counts[hole]
    times = expected.starts(numbers)
    midnight = times - times % DAY
    before, after = expected.before(midnight), expected.before(midnight + DAY)
    earlier = numbers - before <= after - numbers
    midnight, at_midnight = np.where(earlier, midnight, midnight + DAY), np.where(earlier, before, after)
    near = np.abs(at_midnight - numbers) * _NEAR <= bars // counts[hole]
    # On an eastern exchange a day's bar may be stamped before midnight UTC: there the cut is where that bar starts.
    moved = expected.aligned(np.where(near, midnight, times))
    return moved.tolist(), np.where(near, at_midnight, numbers).tolist()


def _grouped(symbols: tuple[str, ...], groups: int) -> list[tuple[str, ...]]:
    """Return the symbols in groups of nearly equal size."""
    borders = [len(symbols) * turn // groups for turn in range(groups + 1)]
    return [symbols[low:high] for low, high in pairwise(borders)]
