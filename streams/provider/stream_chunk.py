"""What the reading behind a stream gives and takes: rows with their positions, and what fills holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import polars as pl

from schemas.contract import Contract
from streams.archive.reader import ArchiveSnapshot
from streams.provider.phases import Phases
from streams.provider.stream_order import SymbolOrder, nanoseconds_of
from streams.provider.stream_position import StreamPosition
from streams.provider.stream_spill import Spill

__all__ = ["Chunk", "Filler"]


class Filler(Protocol):
    """Has what is missing of history fetched, and judges how complete it is; see `HistoryFill`."""

    def fill(self, phases: Phases, snapshot: ArchiveSnapshot | None, spill: Spill, contract: Contract) -> bool: ...

    def check(self, phases: Phases, snapshot: ArchiveSnapshot | None, spill: Spill, contract: Contract) -> None: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows in order, and the positions before and after them.

    Attributes:
        rows: the contract's columns.
        within: the position in whose terms a reader can say how many of the rows it has: with `reached` and `last`.
        after: behind all of them.
    """

    rows: pl.DataFrame
    within: StreamPosition
    after: StreamPosition

    def position(self, contract: Contract, given: int) -> StreamPosition:
        """Return the position behind so many of the rows."""
        if given >= self.rows.height:
            return self.after
        order = SymbolOrder(contract, self.within.last, self.within.ties)
        order.split(self.rows.head(given))
        reached = self.rows.select(nanoseconds_of(contract)).to_series()[given]
        return self.within.model_copy(update={"reached": reached, "last": order.last, "ties": order.ties})
