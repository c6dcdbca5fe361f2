"""Bars that an interval and a calendar expect, and that are not there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.grid import DAY, Grid

__all__ = ["Gap", "expected_bars", "gaps"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Gap:
    """Expected bars without a row, strictly between two times (nanoseconds since the epoch)."""

    symbol: str
    after: int
    before: int
    bars: int


def expected_bars(grid: Grid, start: int, end: int) -> int:
    """Return how many bars a range should have; `end` is not part of it."""
    index = grid.index(np.array([_before(grid, start), _before(grid, end)], np.int64))
    return int(index[1] - index[0])


def gaps(grid: Grid, symbol: str, times: Ints, start: int, end: int) -> list[Gap]:
    """Return where bars of a symbol are absent from a range; `times` are those of the rows that are there."""
    known = np.unique(times)
    # The borders stand for the bar before the range, and for the one after it.
    index = grid.index(np.concatenate(([_before(grid, start)], known, [_before(grid, end)])))
    index[-1] += 1
    bars = np.diff(index) - 1
    edges = np.concatenate(([start], known, [end]))
    return [Gap(symbol, int(edges[i]), int(edges[i + 1]), int(bars[i])) for i in np.flatnonzero(bars > 0)]


def _before(grid: Grid, time: int) -> int:
    """Return a time whose bar is the last one before `time`."""
    # A session is found by its date, so a nanosecond less may be the day before, or not, by the exchange's clock.
    return time - grid.interval_ns if grid.interval_ns == DAY else time - 1
