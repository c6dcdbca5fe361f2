"""A few rows as the vendor wrote them beside what a strategy gets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from schemas.contract import Contract
from streams.demo.scenario import LATE, MISSING, REVISION, TOKYO, UTC, Row, Scenario

__all__ = ["Example", "examples"]

_AFTER_MISSING = (MISSING.symbol, "2006-08-16")
_SHOWN = (("IBM", "2000-03-01"), *((f.symbol, f.day) for f in (TOKYO, UTC)), _AFTER_MISSING, (LATE.symbol, LATE.day))


@dataclass(frozen=True, slots=True)
class Example:
    """One bar before and after; `flags` are the names of its findings."""

    raw: Row
    event_time: datetime
    close: float
    flags: tuple[str, ...]


def examples(scenario: Scenario, rows: pl.DataFrame, contract: Contract) -> list[Example]:
    """Return examples of what normalization does; a bar that was revised is there twice."""
    found = []
    for symbol, day in (*_SHOWN, (REVISION.symbol, REVISION.day)):
        raw = scenario.governed.filter((pl.col("Ticker") == symbol) & pl.col("Date").str.starts_with(day))
        local = pl.col("event_time").dt.convert_time_zone("America/New_York").dt.date().cast(pl.String)
        normalized = rows.filter((pl.col("symbol") == symbol) & (local == day))
        found += [
            Example(
                before, after["event_time"], after["close"], tuple(f.name for f in contract.explain(after["flags"]))
            )
            for before, after in zip(raw.iter_rows(named=True), normalized.iter_rows(named=True), strict=False)
        ]
    return found
