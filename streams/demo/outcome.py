"""What a run of the demo found, as facts to be held against the expected ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from schemas.report import ConformanceReport
from streams.demo.checks import Check, Facts
from streams.demo.scenario import REVISION
from streams.demo.strategy import MovingAverages
from streams.quarantine_store import QuarantinedRow

__all__ = ["Outcome", "Sending", "found_facts"]


@dataclass(frozen=True, slots=True)
class Sending:
    """Rows by what became of them at the producers."""

    taken: int
    refused: int
    past: int


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


def found_facts(
    sending: Sending, report: ConformanceReport, quarantined: Sequence[QuarantinedRow], strategy: MovingAverages
) -> Facts:
    """Return the facts of a run under the names that `expected.expected_facts` gives them."""
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
    for flag, count in Counter(flag for row in quarantined for flag in row.flags).items():
        facts["quarantine", flag] = count
    facts["strategy", "rows received"] = strategy.rows
    facts["strategy", "bars"] = strategy.bars().height
    facts["strategy", "not at New York midnight"] = strategy.not_at_midnight()
    revised = strategy.close_of(REVISION.symbol, date.fromisoformat(REVISION.day))
    if revised is not None:
        facts["strategy", f"close of {REVISION.where}"] = revised
    for r in strategy.results():
        facts[r.symbol, "bars"] = len(r.closes)
        facts[r.symbol, "first day"] = str(r.first)
        facts[r.symbol, "last day"] = str(r.last)
        facts[r.symbol, "last close"] = r.closes[-1]
        facts[r.symbol, "signals"] = r.signals
    return facts
