"""What of a range the archive has, per symbol: where every expected bar is, and where bars are missing. Pure.

Bars are expected by the dataset's interval and calendar. Of ticks nobody can tell how many there should be: of them a
session counts as there if it has a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from coordinator.ranges import Range
from schemas.grid import Grid

__all__ = ["State", "SymbolCoverage", "Tile", "cover", "cover_each", "strip"]

Ints = npt.NDArray[np.int64]
State = Literal["complete", "holed", "missing"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A piece of the range in which all expected bars are there, or none is.

    Attributes:
        start, end: nanoseconds since the epoch, `end` not part of it. Time in which nothing is expected belongs to the
            tile before it.
        bars: how many are expected in it.
    """

    start: int
    end: int
    there: bool
    bars: int


@dataclass(frozen=True, slots=True)
class SymbolCoverage:
    """What there is of one symbol.

    Attributes:
        tiles: cover the whole range without a gap, in order; of neighbours one is there and one is not.
        missing: where bars are missing, from the start of the first to the end of the last of each hole: what to ask
            for.
    """

    symbol: str
    start: int
    end: int
    tiles: tuple[Tile, ...]
    missing: tuple[Range, ...]

    @property
    def expected(self) -> int:
        """How many bars the range should have."""
        return sum(tile.bars for tile in self.tiles)

    @property
    def present(self) -> int:
        """How many of them are there."""
        return sum(tile.bars for tile in self.tiles if tile.there)

    @property
    def ratio(self) -> float:
        """Which share of the expected bars is there; 1 where none is expected."""
        return self.present / self.expected if self.expected else 1.0

    @property
    def complete(self) -> tuple[Range, ...]:
        """The pieces of the range in which nothing is missing."""
        return tuple(Range(tile.start, tile.end) for tile in self.tiles if tile.there)

    @property
    def state(self) -> State:
        """The whole range in one word."""
        if not self.missing:
            return "complete"
        return "holed" if self.present else "missing"


def cover(grid: Grid, symbol: str, times: Ints, start: int, end: int) -> SymbolCoverage:
    """Return what of a range is there.

    Args:
        grid: which bars are expected.
        times: event times of the symbol's rows, nanoseconds since the epoch, in any order; others than of the range do
            no harm.
        start, end: the range, nanoseconds since the epoch, `end` not part of it.
    """
    expected = grid.expected(start, end)
    first, behind = (int(n) for n in expected.before(np.array([start, end], np.int64)))
    numbers = np.arange(first, behind, dtype=np.int64)
    if not len(numbers):
        return SymbolCoverage(symbol, start, end, (Tile(start, end, True, 0),) if end > start else (), ())
    starts, ends = expected.starts(numbers), expected.ends(numbers)
    # Rows mostly come in order, and finding out is far quicker than sorting a million of them.
    distinct = times if bool((times[1:] > times[:-1]).all()) else np.unique(times)
    # The last instant of a bar lies in it, however bars are stamped.
    index = grid.index(np.concatenate((ends - 1, distinct)))
    wanted, found = index[: len(numbers)], index[len(numbers) :]
    # Most ranges are whole, which is seen at once; else each bar is looked for.
    whole = len(found) == len(wanted) and bool((found == wanted).all())
    there = np.ones(len(numbers), np.bool_) if whole else np.isin(wanted, found)
    borders = np.concatenate(([0], np.flatnonzero(there[1:] != there[:-1]) + 1, [len(numbers)]))
    tiles, missing = [], []
    for at, until in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        begins = start if at == 0 else int(starts[at])
        stops = end if until == len(numbers) else int(starts[until])
        tiles.append(Tile(begins, stops, bool(there[at]), until - at))
        if not there[at]:
            missing.append(Range(max(start, int(starts[at])), min(end, int(ends[until - 1]))))
    return SymbolCoverage(symbol, start, end, tuple(tiles), tuple(missing))


def cover_each(grid: Grid, times: Mapping[str, Ints], start: int, end: int) -> dict[str, SymbolCoverage]:
    """Return what `cover` says of each symbol; those of one market mostly have the same times, which costs once."""
    found: dict[str, SymbolCoverage] = {}
    last: tuple[Ints, SymbolCoverage] | None = None
    for symbol, own in times.items():
        if last is not None and np.array_equal(own, last[0]):
            found[symbol] = replace(last[1], symbol=symbol)
        else:
            found[symbol] = cover(grid, symbol, own, start, end)
            last = own, found[symbol]
    return found


def strip(coverage: SymbolCoverage, width: int) -> list[State]:
    """Return the range as so many cells of equal length, each complete, holed or missing."""
    edges = [coverage.start + (coverage.end - coverage.start) * n // width for n in range(width + 1)]
    return [_cell(coverage.tiles, a, max(b, a + 1)) for a, b in pairwise(edges)]


def _cell(tiles: Sequence[Tile], start: int, end: int) -> State:
    found = {tile.there for tile in tiles if tile.start < end and tile.end > start}
    if found == {True} or not found:
        return "complete"
    return "missing" if found == {False} else "holed"
