"""What a run of the demo found, as facts to be held against the expected ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from coordinator.shards import ShardState
from coordinator.verify import Verdict
from schemas.findings import STANDARD
from schemas.report import ConformanceReport
from streams.demo.checks import Check, Facts
from streams.demo.filling import Filling
from streams.demo.promise import Promise
from streams.demo.scenario import REVISION
from streams.demo.series import Series
from streams.demo.strategy import MovingAverages
from streams.quarantine_store import QuarantinedRow

__all__ = ["Outcome", "Sending", "Told", "found_facts"]


@dataclass(frozen=True, slots=True)
class Sending:
    """Rows by what became of them at the producers."""

    taken: int
    refused: int
    past: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the parts of a run told.

    Attributes:
        live: the strategy, when the feed was all it had.
        history: the rows that the backfill brought.
        series: the strategy, with archive, Kafka and backfill as one.
        promise: one that was broken.
    """

    sending: Sending
    report: ConformanceReport
    quarantined: Sequence[QuarantinedRow]
    live: MovingAverages
    filling: Filling
    verdict: Verdict
    history: pl.DataFrame
    series: Series
    promise: Promise


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run: what was checked, and what it took."""

    checks: list[Check]
    seconds: float
    report: ConformanceReport

    @property
    def ok(self) -> bool:
        """Whether every count is what it must be."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return the run for machines."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 2),
            "checks": [
                {"group": c.group, "name": c.name, "expected": c.expected, "found": c.found, "ok": c.ok}
                for c in self.checks
            ],
            "report": self.report.model_dump(mode="json"),
        }


def found_facts(told: Told, market: pl.DataFrame) -> Facts:
    """Return the facts of a run under the names that `expected.expected_facts` gives them.

    Args:
        market: the bars as they are true, in the vendor's columns.
    """
    sending, report = told.sending, told.report
    facts: Facts = {
        ("producer", "rows taken"): sending.taken,
        ("producer", "rows refused"): sending.refused,
        ("producer", "written past it"): sending.past,
        ("rows", "in"): report.rows_in,
        ("rows", "out"): report.rows_out,
        ("rows", "quarantined"): report.rows_quarantined,
        ("rows", "duplicates dropped"): report.rows_dropped,
    }
    for finding in report.findings:
        facts["found", f"{finding.flag} · {finding.column}" if finding.column else finding.flag] = finding.count
    for flag, count in Counter(flag for row in told.quarantined for flag in row.flags).items():
        facts["quarantine", flag] = count
    facts |= _backfill_facts(told.filling, told.verdict)
    facts["backfill", "history rows"] = told.history.height
    facts["backfill", "gaps left"] = told.history.filter(pl.col("flags") & STANDARD["gap"].mask != 0).height
    live, whole = told.live, told.live.joined(told.history)
    facts["strategy", "rows of the feed"] = live.rows
    facts["strategy", "bars of the feed"] = live.bars().height
    facts["strategy", "bars with history"] = whole.bars().height
    facts["strategy", "closes not the vendor's"] = whole.unlike(market)
    facts["strategy", "not at New York midnight"] = whole.not_at_midnight()
    revised = whole.close_of(REVISION.symbol, date.fromisoformat(REVISION.day))
    if revised is not None:
        facts["strategy", f"close of {REVISION.where}"] = revised
    before = {r.symbol: r for r in live.results()}
    for r in whole.results():
        holey = before.get(r.symbol)
        facts[r.symbol, "bars"] = len(r.closes)
        facts[r.symbol, "bars of the feed"] = len(holey.closes) if holey else 0
        facts[r.symbol, "first day"] = str(r.first)
        facts[r.symbol, "last day"] = str(r.last)
        facts[r.symbol, "last close"] = r.closes[-1]
        facts[r.symbol, "signals"] = r.signals
        facts[r.symbol, "signals of the feed"] = holey.signals if holey else 0
    return facts | told.series.facts(market) | told.promise.facts()


def _backfill_facts(filling: Filling, verdict: Verdict) -> Facts:
    job, kill, takeover = filling.job, filling.kill, filling.takeover
    facts: Facts = {
        ("backfill", "bars due"): job.estimated_rows,
        ("backfill", "shards"): job.shards,
        ("backfill", "shards done"): filling.count(ShardState.DONE),
        ("backfill", "rows written"): job.rows,
        ("backfill", "rows refused"): sum(s.rejected + s.outside for s in filling.shards),
        ("backfill", "ratio"): job.ratio,
        ("backfill", "workers killed"): int(kill is not None),
        ("backfill", "shards proven"): verdict.shards if verdict.certificate else 0,
        ("backfill", "rows proven"): verdict.rows if verdict.certificate else 0,
        ("backfill", "problems"): len(verdict.problems),
    }
    if kill is not None and takeover is not None:
        facts["backfill", "shards taken over"] = 1
        facts["backfill", "rows between cursors"] = takeover.rows - kill.rows
    return facts
