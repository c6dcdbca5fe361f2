"""Stretches of rows of one symbol: as files are sorted by symbol, a million rows are a few dozen of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Runs", "runs_of"]

Ints = npt.NDArray[np.int64]

_LONG_RUN = 100


@dataclass(frozen=True, slots=True)
class Runs:
    """Stretches of rows of one symbol: their borders (one more than there are), and each symbol's rank by name."""

    borders: Ints
    ranks: Ints
    symbols: int

    @property
    def long(self) -> bool:
        """Whether there are few of them for so many rows."""
        return len(self.ranks) <= int(self.borders[-1]) // _LONG_RUN


def runs_of(symbols: pl.Series) -> Runs:
    """Return the runs of a column of texts without nulls."""
    runs = symbols.rle()
    names = runs.struct.field("value")
    known = names.unique().sort()
    ranks = names.cast(pl.Enum(known)).to_physical().to_numpy().astype(np.int64)
    lengths = runs.struct.field("len").to_numpy().astype(np.int64)
    return Runs(np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths))), ranks, len(known))
