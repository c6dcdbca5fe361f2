"""What the demo must find, reckoned from the scenario alone; no code of the pipeline has a part in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from itertools import accumulate, pairwise

import polars as pl

from streams.demo.checks import Facts
from streams.demo.hole import HOLE, SHARD_BARS
from streams.demo.market import NEW_SESSIONS
from streams.demo.scenario import FAULTS, REVISION, Fault

__all__ = ["FAST", "SLOW", "crossings", "expected_facts"]

FAST, SLOW = 20, 100
"""Bars in the strategy's two averages."""

# This vendor writes prices and dates as text, so that every row that can be read has these.
_EVERY_ROW = (
    ("dtype_cast", "open"),
    ("dtype_cast", "high"),
    ("dtype_cast", "low"),
    ("dtype_cast", "close"),
    ("ts_cast", "event_time"),
    ("ts_timezone_normalized", "event_time"),
)


def expected_facts(market: pl.DataFrame) -> Facts:
    """Return every count that the demo checks."""
    missing = HOLE.bars(market)
    rows_in = market.height - missing.height + sum(f.rows for f in FAULTS)
    quarantined, dropped = sum(f.quarantined for f in FAULTS), sum(f.dropped for f in FAULTS)
    out = rows_in - quarantined - dropped
    refused, junk = _rows_of("refused"), _rows_of("junk")
    facts: Facts = {
        ("producer", "rows taken"): rows_in - refused - junk,
        ("producer", "rows refused"): refused,
        ("producer", "written past it"): refused + junk,
        ("rows", "in"): rows_in,
        ("rows", "out"): out,
        ("rows", "quarantined"): quarantined,
        ("rows", "duplicates dropped"): dropped,
    }
    for (flag, column), count in sorted(_findings(market, rows_in).items()):
        facts["found", f"{flag} · {column}" if column else flag] = count
    for flag, count in sorted(_reasons().items()):
        facts["quarantine", flag] = count
    facts |= _backfill(missing)
    whole = market.height + sum(f.bars for f in FAULTS)
    facts["strategy", "rows of the feed"] = out
    facts["strategy", "bars of the feed"] = whole - missing.height
    facts["strategy", "bars with history"] = whole
    facts["strategy", "closes not the vendor's"] = 0
    facts["strategy", "not at New York midnight"] = 0
    facts["strategy", f"close of {REVISION.where}"] = _close(market, REVISION)
    for (symbol,), bars in _bars(market).group_by("Ticker", maintain_order=True):
        closes, fed = _closes(bars), _closes(HOLE.around(bars))
        facts[str(symbol), "bars"] = bars.height
        facts[str(symbol), "bars of the feed"] = len(fed)
        facts[str(symbol), "first day"] = str(bars["Date"][0])
        facts[str(symbol), "last day"] = str(bars["Date"][-1])
        facts[str(symbol), "last close"] = float(closes[-1])
        facts[str(symbol), "signals"] = crossings(closes, FAST, SLOW)
        facts[str(symbol), "signals of the feed"] = crossings(fed, FAST, SLOW)
    return facts | _one_series(market) | _a_promise()


def crossings(closes: Iterable[Decimal], fast: int, slow: int) -> int:
    """Return how often the average of the last `fast` closes goes above that of the last `slow`, or back; exactly."""
    sums = [Decimal(0), *accumulate(closes)]
    above = [(sums[i] - sums[i - fast]) * slow > (sums[i] - sums[i - slow]) * fast for i in range(slow, len(sums))]
    return sum(one != other for one, other in pairwise(above))


def _rows_of(sender: str) -> int:
    return sum(1 for f in FAULTS if f.by == sender)


def _backfill(missing: pl.DataFrame) -> Facts:
    """All that is missing is fetched, once, though a worker is killed in the middle of a shard."""
    counts = missing.group_by("Ticker").len()["len"]
    shards = sum(-(-bars // SHARD_BARS) for bars in counts)
    return {
        ("backfill", "bars due"): missing.height,
        ("backfill", "shards"): shards,
        ("backfill", "shards done"): shards,
        ("backfill", "rows written"): missing.height,
        ("backfill", "rows refused"): 0,
        ("backfill", "ratio"): 1.0,
        ("backfill", "workers killed"): 1,
        ("backfill", "shards taken over"): 1,
        ("backfill", "rows between cursors"): 0,
        ("backfill", "shards proven"): shards,
        ("backfill", "rows proven"): missing.height,
        ("backfill", "problems"): 0,
        ("backfill", "history rows"): missing.height,
        ("backfill", "gaps left"): 0,
    }


def _one_series(market: pl.DataFrame) -> Facts:
    """With the vendor's file behind it, the series is the market's, and a few made-up days."""
    new = NEW_SESSIONS * market["Ticker"].n_unique()
    return {
        ("one series", "bars in one call"): market.height,
        ("one series", "closes not the vendor's"): 0,
        ("one series", "bars before the seam"): market.height,
        ("one series", "bars behind it"): new,
        ("one series", "bars twice"): 0,
        ("one series", "bars late"): 0,
        ("one series", "bars of a later call"): market.height + new,
        ("one series", "stream and call are one"): 1,
    }


def _a_promise() -> Facts:
    """It is broken once, and kept again, and somebody is told of both."""
    told = ("breaches opened", "breaches resolved", "alerts that fired", "alerts that resolved")
    return {("a promise", each): 1 for each in told}


def _findings(market: pl.DataFrame, rows_in: int) -> Counter[tuple[str, str]]:
    """Every row that can be read has the vendor's findings, but for those that a fault spares it.

    The first bar after the hole comes after a gap.
    """
    found = Counter(dict.fromkeys(_EVERY_ROW, rows_in - _rows_of("junk")))
    found["gap", "event_time"] += len(HOLE.symbols(market))
    for fault in FAULTS:
        found.update(fault.findings)
        found.subtract(fault.spares)
    return found


def _reasons() -> Counter[str]:
    """Rows in quarantine by reason; a row may have several. What a fault does to its neighbours is no reason."""
    return Counter(
        flag for f in FAULTS if f.quarantined for flag, column in f.findings if (flag, column) != ("gap", "event_time")
    )


def _bars(market: pl.DataFrame) -> pl.DataFrame:
    """The bars as a strategy must see them in the end: as they are true, but for those that never arrive."""
    gone = pl.DataFrame([(f.symbol, f.day) for f in FAULTS if f.bars < 0], schema=["Ticker", "Date"], orient="row")
    return market.join(gone, on=["Ticker", "Date"], how="anti").sort("Ticker", "Date")


def _closes(bars: pl.DataFrame) -> list[Decimal]:
    return [Decimal(close) for close in bars["Close"]]


def _close(market: pl.DataFrame, fault: Fault) -> float:
    bar = market.row(by_predicate=(pl.col("Ticker") == fault.symbol) & (pl.col("Date") == fault.day), named=True)
    return float(bar["Close"])
