"""Whether conformance blocks, and whether rows break more rules than they used to; pure.

A finding has regressed if its share of the rows in the window is more than it usually was in the windows before. Of a
violation that is open while rows with it wait in quarantine: whoever replays or dismisses them has dealt with it.
Warnings pass, and some feeds always have them: they count where there is something to compare with, from ten rows and
from the alerts' thresholds on, which are a hundredth of the rows and three times the usual share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from schemas.findings import Severity
from schemas.report import ConformanceReport, Mode
from streams.ready.span import Span, usual
from streams.ready.verdict import Verdict, failed, passed

__all__ = ["Regression", "Tally", "conformance_verdict", "tallied"]

CHECK = "conformance"
_WARNING_ROWS, _WARNING_RATIO, _WARNING_SPIKE = 10, 0.01, 3.0
_SHOWN = 3

_Key = tuple[str, str | None, bool]


@dataclass
class Tally:
    """The reports of a dataset, added up by window.

    Attributes:
        rows, quarantined: of each window, that which is judged first.
        found: rows by finding, column and whether it is a violation, of each window.
        mode, at: of the newest report.
    """

    rows: list[int]
    quarantined: list[int]
    found: dict[_Key, list[int]] = field(default_factory=dict)
    mode: Mode | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Regression:
    """A finding that more rows have than usual.

    Attributes:
        share, usual: of the rows in the window, and what is usual.
    """

    flag: str
    column: str | None
    violation: bool
    rows: int
    share: float
    usual: float

    def __str__(self) -> str:
        about = f"{self.flag} in {self.column}" if self.column else self.flag
        return f"{about} ({self.rows:,} rows, {self.share:.2%}; usual is {self.usual:.2%})"


def tallied(reports: Iterable[ConformanceReport], span: Span) -> dict[str, Tally]:
    """Add reports up by dataset; what passed by exception is approved and no regression."""
    tallies: dict[str, Tally] = {}
    for report in reports:
        at = report.created_at or span.end
        index = span.index(at)
        if index is None:
            continue
        empty = [0] * (span.before + 1)
        tally = tallies.setdefault(report.dataset, Tally(empty[:], empty[:]))
        tally.rows[index] += report.rows_in
        tally.quarantined[index] += report.rows_quarantined
        if tally.at is None or at >= tally.at:
            tally.mode, tally.at = report.mode, at
        for finding in report.findings:
            if not finding.excepted:
                key = finding.flag, finding.column, finding.severity is Severity.VIOLATION
                tally.found.setdefault(key, empty[:])[index] += finding.count
    return tallies


def regressions(tally: Tally) -> Iterator[Regression]:
    """Yield what more rows of the window have than usual."""
    rows = tally.rows[0]
    if not rows:
        return
    for (flag, column, violation), counts in sorted(tally.found.items(), key=lambda item: -item[1][0]):
        share = counts[0] / rows
        shares = [n / of for n, of in zip(counts[1:], tally.rows[1:], strict=True) if of]
        before = usual(shares)
        if violation:
            spiked = share > before
        else:
            is_many = bool(shares) and counts[0] >= _WARNING_ROWS
            spiked = is_many and share > max(_WARNING_RATIO, _WARNING_SPIKE * before)
        if spiked:
            yield Regression(flag, column, violation, counts[0], share, before)


def conformance_verdict(
    dataset: str,
    wanted: Mode,
    tally: Tally | None,
    span: Span,
    waiting: Callable[[], set[str]],
) -> Verdict:
    """Judge a dataset.

    Args:
        wanted: its mode by the settings and by what was set at run time.
        tally: its reports; None if there are none.
        waiting: returns the findings of rows that wait in quarantine; asked only if a violation regressed.
    """
    if wanted != "blocking":
        return failed(
            CHECK,
            f"{wanted} is in force, so rows with violations pass",
            'Set mode = "blocking" for the dataset or in seamless.conformance, and start the normalizers again, or '
            "undo the rollback.",
            dataset,
        )
    if tally is None or not tally.rows[0]:
        return failed(
            CHECK,
            f"no row was normalized in the last {span.words}, so nothing is known",
            "Let rows come, with `seamless normalize` running; or look further back with --window.",
            dataset,
        )
    if tally.mode != "blocking":
        return failed(
            CHECK,
            f"the newest report, of {tally.at:%Y-%m-%d %H:%M:%S} UTC, is of {tally.mode} mode, though blocking is in "
            "force",
            "Start the normalizers again with these settings.",
            dataset,
        )
    found = list(regressions(tally))
    still = waiting() if any(each.violation for each in found) else set[str]()
    open_ = [each for each in found if not each.violation or each.flag in still]
    if open_:
        more = f" and {len(open_) - _SHOWN} more" if len(open_) > _SHOWN else ""
        return failed(
            CHECK,
            f"blocking; in the last {span.words} more rows than usual have {', '.join(map(str, open_[:_SHOWN]))}{more}",
            f"Look at them (`seamless quarantine list {dataset}`), mend the cause, then replay or dismiss them.",
            dataset,
        )
    settled = f"; {len(found)} that were replayed or dismissed" if found else ""
    return passed(
        CHECK,
        f"blocking; {tally.rows[0]:,} rows in the last {span.words}, {tally.quarantined[0]:,} of them quarantined, and "
        f"no open regression{settled}",
        dataset,
    )
