"""Two years that the live feed never brings: what a backfill is for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl

__all__ = ["HOLE", "HOME", "SHARD_BARS", "Hole"]

HOME = ZoneInfo("America/New_York")
"""Where the vendor's days begin."""
SHARD_BARS = 63
"""About how many bars a shard of the backfill has: a quarter of a year of one symbol."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Days that are missing, from the first up to and without the end, as the vendor writes them."""

    first: str
    end: str

    @property
    def start_time(self) -> datetime:
        """The midnight at which it begins."""
        return datetime.fromisoformat(self.first).replace(tzinfo=HOME)

    @property
    def end_time(self) -> datetime:
        """The midnight at which it ends."""
        return datetime.fromisoformat(self.end).replace(tzinfo=HOME)

    def bars(self, market: pl.DataFrame) -> pl.DataFrame:
        """Return the bars that are missing."""
        return market.filter(self._inside())

    def around(self, market: pl.DataFrame) -> pl.DataFrame:
        """Return the bars that are not."""
        return market.filter(~self._inside())

    def symbols(self, market: pl.DataFrame) -> tuple[str, ...]:
        """Return who misses bars, sorted."""
        return tuple(self.bars(market)["Ticker"].unique().sort())

    def _inside(self) -> pl.Expr:
        return pl.col("Date").is_between(pl.lit(self.first), pl.lit(self.end), closed="left")


HOLE = Hole("2007-01-01", "2009-01-01")
"""The middle of the thirteen years, and no fault's: what happens in it is the backfill's doing alone."""
