"""Which quarters of a series have bars, and where these are from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.demo.show import HISTORY, LIVE, NOTHING

__all__ = ["Coverage", "coverage"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """One symbol's bars.

    Attributes:
        live, history: how many came by the feed, and by backfill.
        quarters: a sign for each quarter of a year, from the first of `year` on; blank before the first bar.
    """

    symbol: str
    live: int
    history: int
    year: int
    quarters: str


def coverage(live: pl.DataFrame, history: pl.DataFrame | None = None) -> list[Coverage]:
    """Return the coverage of each symbol, by name; frames have the columns `symbol` and `event_time`."""
    parts = [_counted(live, LIVE)] + ([] if history is None else [_counted(history, HISTORY)])
    found = pl.concat(parts)
    if found.is_empty():
        return []
    year, last = int(found["quarter"].min()) // 4, int(found["quarter"].max())  # type: ignore[arg-type]
    result = []
    for (symbol,), mine in found.sort("symbol").group_by("symbol", maintain_order=True):
        signs = dict(mine.select("quarter", "sign").iter_rows())
        bars = dict(mine.group_by("sign").agg(pl.col("bars").sum()).iter_rows())
        first = min(signs)
        quarters = "".join(signs.get(q, NOTHING if q > first else " ") for q in range(year * 4, last + 1))
        result.append(Coverage(str(symbol), bars.get(LIVE, 0), bars.get(HISTORY, 0), year, quarters))
    return result


def _counted(bars: pl.DataFrame, sign: str) -> pl.DataFrame:
    """Count bars by symbol and quarter; quarters are numbered from the year 0 on."""
    time = pl.col("event_time")
    quarter = (time.dt.year() * 4 + time.dt.quarter().cast(pl.Int32) - 1).alias("quarter")
    return bars.group_by("symbol", quarter).agg(pl.len().alias("bars")).with_columns(pl.lit(sign).alias("sign"))
