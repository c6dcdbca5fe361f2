"""What the demo sends: thirteen years of daily bars but for two, and twelve faults at known places.

Pure, and written down by hand: each fault says what conformance must make of it, so that the expectations owe nothing
to the code they are held against. The data itself is clean (see `data/ORIGIN.md`): no bar is missing by the NYSE
calendar, so 1,479 of the 4,749 days it spans have none and are no gaps, 9/11 and hurricane Sandy among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from streams.demo.hole import HOLE

__all__ = ["FAULTS", "Fault", "Junk", "Scenario", "make_scenario"]

Row = dict[str, Any]
Day = tuple[str, str]
"""Symbol and date of a bar."""

Sender = Literal["governed", "refused", "junk"]
_TIME = "event_time"
_NO_BAR = {("gap", _TIME): 1}  # the bar after the one that is not there


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the feed, and what must come of it.

    Attributes:
        name: what it is, in two or three words.
        symbol, day: the bar it is about; junk has no day.
        story: what the feed does.
        outcome: what conformance makes of it, for people.
        by: who sends its rows: the governed producer, somebody past it after it refused, or a stranger.
        rows: rows sent more (or fewer) than without it.
        bars: bars that strategies see more (or fewer).
        dropped, quarantined: what becomes of rows.
        findings: what is found, by finding and column, beyond what every row of this vendor has.
        spares: of the findings that every row has, those that one row lacks.
    """

    name: str
    symbol: str
    day: str
    story: str
    outcome: str
    by: Sender = "governed"
    rows: int = 0
    bars: int = 0
    dropped: int = 0
    quarantined: int = 0
    findings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spares: tuple[tuple[str, str], ...] = ()

    @property
    def where(self) -> str:
        """The bar, for people."""
        return f"{self.symbol} {self.day}".strip()


MISSING = Fault(
    "missing day", "MSFT", "2006-08-15",
    "a trading day is never sent",
    "gap on the next bar",
    rows=-1, bars=-1, findings=_NO_BAR,
)  # fmt: skip
LATE = Fault(
    "late bar", "IBM", "2003-05-07",
    "arrives after 2003-05-19",
    "gap, out of order, late",
    findings={**_NO_BAR, ("out_of_order", _TIME): 1, ("late", _TIME): 1},
)  # fmt: skip
LATE_BEHIND = "2003-05-19"
DUPLICATE = Fault(
    "exact duplicate", "GOOG", "2009-07-02",
    "sent twice in a row",
    "duplicate: dropped",
    rows=1, dropped=1, findings={("duplicate_ts", _TIME): 1},
)  # fmt: skip
REVISION = Fault(
    "revision", "GOOG", "2011-01-20",
    "wrong close, corrected next day",
    "revision: the newest counts",
    rows=1, findings={("revision", _TIME): 1, ("out_of_order", _TIME): 1},
)  # fmt: skip
REVISION_BEHIND = "2011-01-21"
TOKYO = Fault(
    "foreign time zone", "AAPL", "2010-05-03",
    "dated 2010-05-03T13:00:00+09:00",
    "New York's midnight, in UTC",
)  # fmt: skip
UTC = Fault(
    "time in UTC", "AAPL", "2010-05-04",
    "dated 2010-05-04T04:00:00Z",
    "New York's midnight already",
    spares=(("ts_timezone_normalized", _TIME),),
)  # fmt: skip
NOT_A_NUMBER = Fault(
    "not a number", "FB", "2012-08-02",
    'Close is "NaN"',
    "non finite: quarantined",
    by="refused", bars=-1, quarantined=1, findings={**_NO_BAR, ("non_finite", "close"): 1},
)  # fmt: skip
CROSSED = Fault(
    "crossed bar", "MSFT", "2001-04-03",
    "High and Low are swapped",
    "breaks three rules: quarantined",
    by="refused", bars=-1, quarantined=1,
    findings={
        **_NO_BAR,
        ("high_below_low", "high,low"): 1,
        ("high_below_body", "high,open,close"): 1,
        ("low_above_body", "low,open,close"): 1,
    },
)  # fmt: skip
NO_PRICE = Fault(
    "text for a price", "IBM", "2005-11-09",
    'Open is "n/a"',
    "cannot be cast: quarantined",
    by="refused", bars=-1, quarantined=1,
    findings={**_NO_BAR, ("dtype_mismatch", "open"): 1}, spares=(("dtype_cast", "open"),),
)  # fmt: skip
NO_AVRO = Fault(
    "no Avro at all", "GOOG", "",
    "a JSON text on the raw topic",
    "undecodable: quarantined",
    by="junk", rows=1, quarantined=1, findings={("undecodable", ""): 1},
)  # fmt: skip
CUT_OFF = Fault(
    "cut-off record", "AAPL", "",
    "the first half of a record",
    "undecodable: quarantined",
    by="junk", rows=1, quarantined=1, findings={("undecodable", ""): 1},
)  # fmt: skip
NO_SCHEMA = Fault(
    "unknown schema", "IBM", "",
    "an id that nobody registered",
    "unknown schema: quarantined",
    by="junk", rows=1, quarantined=1, findings={("unknown_schema", ""): 1},
)  # fmt: skip

FAULTS = (
    MISSING, LATE, DUPLICATE, REVISION, TOKYO, UTC, NOT_A_NUMBER, CROSSED, NO_PRICE, NO_AVRO, CUT_OFF, NO_SCHEMA,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Junk:
    """A payload that is no row: `row` is what its damaged record said, where it had been one."""

    fault: Fault
    row: Row


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that is sent, in the vendor's columns.

    Attributes:
        governed: what the governed producer takes, in order; it flags, but violates nothing.
        refused: what it refuses.
        junk: what no producer with a schema could send.
    """

    governed: pl.DataFrame
    refused: pl.DataFrame
    junk: tuple[Junk, ...]


def make_scenario(market: pl.DataFrame) -> Scenario:
    """Put the faults into the market data around the hole (see `market.load_market`), which is left as it is."""
    feed = _Feed(HOLE.around(market))
    feed.take(MISSING)
    feed.insert(feed.take(LATE), after=LATE_BEHIND)
    feed.insert(feed.row(DUPLICATE), after=DUPLICATE.day)
    true = feed.row(REVISION)
    feed.change(REVISION, Close=true["Low"])
    feed.insert(true, after=REVISION_BEHIND)
    feed.change(TOKYO, Date="2010-05-03T13:00:00+09:00")
    feed.change(UTC, Date="2010-05-04T04:00:00Z")
    crossed = feed.take(CROSSED)
    refused = [
        feed.take(NOT_A_NUMBER) | {"Close": "NaN"},
        crossed | {"High": crossed["Low"], "Low": crossed["High"]},
        feed.take(NO_PRICE) | {"Open": "n/a"},
    ]
    junk = tuple(Junk(fault, feed.newest(fault.symbol)) for fault in (NO_AVRO, CUT_OFF, NO_SCHEMA))
    return Scenario(feed.frame(), pl.DataFrame(refused, schema=market.schema), junk)


class _Feed:
    """Rows by the day and the symbol behind which they are sent."""

    def __init__(self, market: pl.DataFrame) -> None:
        self._schema = market.schema
        self._rows: dict[Day, list[Row]] = {(r["Date"], r["Ticker"]): [r] for r in market.iter_rows(named=True)}

    def row(self, fault: Fault) -> Row:
        """Return a copy of the bar that a fault is about."""
        return dict(self._rows[fault.day, fault.symbol][0])

    def newest(self, symbol: str) -> Row:
        """Return a copy of a symbol's newest bar."""
        return dict(self._rows[max(day for day in self._rows if day[1] == symbol)][0])

    def take(self, fault: Fault) -> Row:
        """Take the bar out of the feed and return it."""
        return self._rows.pop((fault.day, fault.symbol))[0]

    def change(self, fault: Fault, **values: str) -> None:
        """Change the bar where it is."""
        self._rows[fault.day, fault.symbol][0] = self.row(fault) | values

    def insert(self, row: Row, *, after: str) -> None:
        """Send a row behind the bar that its symbol has on a day."""
        self._rows[after, row["Ticker"]].append(row)

    def frame(self) -> pl.DataFrame:
        """Return the feed in the order in which it is sent."""
        rows = [row for slot in sorted(self._rows) for row in self._rows[slot]]
        return pl.DataFrame(rows, schema=self._schema)
