"""The market data that ships with the demo; `data/ORIGIN.md` says where it is from."""

from __future__ import annotations

from datetime import date
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DATA", "NEW_SESSIONS", "RAW_SCHEMA", "days_and_sessions", "load_market"]

NEW_SESSIONS = 3
"""How many days of made-up bars come live, behind those that ship."""

_FOLDER = Path(str(resources.files("streams.demo") / "data"))
DATA = _FOLDER / "ohlcv_us_1d.parquet"
RAW_SCHEMA = _FOLDER / "vendor_daily.avsc"


def load_market() -> pl.DataFrame:
    """Return all bars by day and then by symbol, in the columns of the vendor's raw schema: prices are text."""
    # Here and not above, as whoever wants the paths only need not wait for it.
    import polars as pl

    return pl.read_parquet(DATA)


def days_and_sessions(market: pl.DataFrame) -> tuple[int, int]:
    """Return how many days the bars span, and on how many of them there are any."""
    dates = market["Date"].unique().sort()
    return (date.fromisoformat(dates[-1]) - date.fromisoformat(dates[0])).days + 1, dates.len()
