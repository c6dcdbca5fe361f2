"""Rows that form a grid, every symbol at the same times: their order is a transposition, which costs no sorting. Pure.

Files are sorted by symbol and then by time, and results by time and then by symbol. Where a file holds each of its
symbols at the same times, as bars of an unbroken market are, its rows are a matrix that only has to be turned round.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.archive.runs import Runs

__all__ = ["Places", "grid_order"]

Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.integer]


class _Block(NamedTuple):
    """Rows of several symbols at the same times: each symbol's rows, one symbol after the other."""

    start: int
    symbols: int
    times: int

    @property
    def end(self) -> int:
        return self.start + self.symbols * self.times


def grid_order(times: Ints, runs: Runs) -> Places | None:
    """Return the places of rows by time and then by symbol, no two of them alike; None if rows form no grid.

    Args:
        times: event times, in any unit, as rows are stored.
    """
    blocks = _blocks(times, runs)
    if blocks is None:
        return None
    # As polars counts rows, so that it need not convert them.
    kind = np.dtype(np.uint32 if len(times) <= np.iinfo(np.uint32).max else np.int64)
    order: Places = np.empty(len(times), kind)
    at = 0
    for block in blocks:
        size = block.symbols * block.times
        firsts = np.arange(block.start, block.end, block.times, dtype=kind)
        rows = np.arange(block.times, dtype=kind)[:, np.newaxis]
        np.add(firsts, rows, out=order[at : at + size].reshape(block.times, block.symbols))
        at += size
    return order


def _blocks(times: Ints, runs: Runs) -> list[_Block] | None:
    """Return the blocks that rows consist of, in the order of their times."""
    starts, lengths, ranks = runs.borders[:-1].tolist(), np.diff(runs.borders).tolist(), runs.ranks.tolist()
    blocks: list[_Block] = []
    at = 0
    while at < len(starts):
        until = at + 1
        while until < len(starts) and ranks[until] > ranks[until - 1] and lengths[until] == lengths[at]:
            until += 1
        block = _Block(starts[at], until - at, lengths[at])
        matrix = times[block.start : block.end].reshape(block.symbols, block.times)
        if not (np.all(matrix[0, 1:] > matrix[0, :-1]) and np.all(matrix == matrix[0])):
            return None
        blocks.append(block)
        at = until
    blocks.sort(key=lambda b: int(times[b.start]))
    apart = all(times[a.end - 1] < times[b.start] for a, b in pairwise(blocks))
    return blocks if apart else None
