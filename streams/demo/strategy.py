"""A strategy as a reader of the normalized topic writes one: two moving averages, and a signal when they cross.

It needs no care for the vendor's names, text and zones, nor for what was broken: rows are typed, in UTC and sound. All
that is left to it is that a bar may come late or be corrected, for which the newest row of a bar counts. The prices
are unadjusted, so a split looks like a fall: this shows data, it is no advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

__all__ = ["MovingAverages", "SymbolResult"]

_HOME = "America/New_York"


@dataclass(frozen=True, slots=True)
class SymbolResult:
    """What became of one symbol: its closes in the order of their days, and how often the averages crossed."""

    symbol: str
    first: date
    last: date
    closes: tuple[float, ...]
    signals: int


class MovingAverages:
    """Collects bars and counts crossings of a fast and a slow average of closes."""

    def __init__(self, fast: int, slow: int) -> None:
        self.fast, self.slow = fast, slow
        self.rows = 0
        self._frames = [pl.DataFrame(schema=_COLUMNS)]

    def take(self, rows: pl.DataFrame) -> None:
        """Take normalized rows in the order of their arrival."""
        self.rows += rows.height
        self._frames.append(rows.select("symbol", "event_time", "close"))

    def joined(self, history: pl.DataFrame) -> MovingAverages:
        """Return one that knows rows of history besides; this one stays as it is."""
        other = MovingAverages(self.fast, self.slow)
        other.rows, other._frames = self.rows, list(self._frames)
        other.take(history)
        return other

    def bars(self) -> pl.DataFrame:
        """Return the bars so far by symbol and time; of several rows of one bar the newest to arrive."""
        return (
            pl.concat(self._frames)
            .unique(["symbol", "event_time"], keep="last", maintain_order=True)
            .sort("symbol", "event_time")
        )

    def not_at_midnight(self) -> int:
        """Return how many bars do not begin at midnight in New York."""
        local = pl.col("event_time").dt.convert_time_zone(_HOME)
        return self.bars().filter(local.dt.time() != pl.time(0, 0)).height

    def unlike(self, market: pl.DataFrame) -> int:
        """Return how many bars the market, in the vendor's columns, does not have with that close."""
        true = market.select(
            symbol="Ticker", day=pl.col("Date").str.to_date("%Y-%m-%d"), close=pl.col("Close").cast(pl.Float64)
        )
        known = self.bars().select("symbol", _DAY.alias("day"), "close")
        return known.join(true, on=["symbol", "day", "close"], how="anti").height

    def close_of(self, symbol: str, day: date) -> float | None:
        """Return the close of a bar as it is known now, or None if there is no such bar."""
        found = self.bars().filter((pl.col("symbol") == symbol) & _DAY.eq(day))["close"]
        return float(found[0]) if found.len() else None

    def results(self) -> list[SymbolResult]:
        """Return what is known of each symbol, by name."""
        closes = pl.col("close")
        above = closes.rolling_mean(self.fast) > closes.rolling_mean(self.slow)
        judged = self.bars().with_columns(_DAY.alias("day"), above.over("symbol").alias("above"))
        return [
            SymbolResult(
                symbol=str(symbol),
                first=bars["day"][0],
                last=bars["day"][-1],
                closes=tuple(bars["close"]),
                signals=int((bars["above"] != bars["above"].shift()).fill_null(False).sum()),
            )
            for (symbol,), bars in judged.group_by("symbol", maintain_order=True)
        ]


_COLUMNS: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "event_time": pl.Datetime("us", "UTC"),
    "close": pl.Float64(),
}
_DAY = pl.col("event_time").dt.convert_time_zone(_HOME).dt.date()
