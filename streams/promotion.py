"""The gate before a stricter mode: what has to be true, judged from the evidence, condition by condition; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.compatibility import covers
from schemas.report import ConformanceReport
from streams.durations import spelled
from streams.schema_policy import SchemaPolicy
from streams.settings_sections import SchemaMode

__all__ = ["Condition", "Evidence", "Thresholds", "conditions", "next_mode"]

_NEXT: dict[SchemaMode, SchemaMode] = {"optional": "canary", "canary": "strict"}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How much evidence is enough.

    Attributes:
        window: how far back conformance is looked at.
        rows, hours: canary is clean for long enough if it is for so many rows, or for so many hours.
    """

    window: timedelta = timedelta(hours=24)
    rows: int = 100_000
    hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a dataset.

    Attributes:
        reports: of the dataset, oldest first: those of the window, and all since canary began.
        raw_level, contract_level: compatibility of the raw and the normalized subject in the registry.
        exception_problems: what is wrong with the dataset's exceptions.
        now: the moment of judgement.
    """

    policy: SchemaPolicy
    reports: Sequence[ConformanceReport]
    raw_level: str
    contract_level: str
    exception_problems: Sequence[str]
    now: datetime


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, whether it holds, and what it was judged by."""

    name: str
    holds: bool
    says: str

    def __str__(self) -> str:
        return f"{'pass' if self.holds else 'FAIL'}  {self.name}: {self.says}"


def next_mode(mode: SchemaMode) -> SchemaMode | None:
    """Return the mode after one on the road to strict; None after strict."""
    return _NEXT.get(mode)


def conditions(evidence: Evidence, thresholds: Thresholds) -> list[Condition]:
    """Judge every condition for the next mode; canary has to be clean for strict only."""
    recent = [r for r in evidence.reports if _at(r, evidence.now) >= evidence.now - thresholds.window]
    found = [
        _conformance(recent, thresholds),
        _producers(recent),
        _levels(evidence),
        Condition(
            "exceptions",
            not evidence.exception_problems,
            "; ".join(evidence.exception_problems) or "none is expired or about something that is not there",
        ),
    ]
    if evidence.policy.mode == "canary":
        found.insert(1, _canary(evidence, thresholds))
    return found


def _at(report: ConformanceReport, otherwise: datetime) -> datetime:
    return report.created_at or otherwise


def _conformance(reports: Sequence[ConformanceReport], thresholds: Thresholds) -> Condition:
    window = _span(thresholds.window)
    rows = sum(r.rows_in for r in reports)
    if not rows:
        return Condition("conformance", False, f"no row was normalized in the last {window}, so nothing is known")
    broken: dict[str, int] = {}
    excepted: dict[str, int] = {}
    for finding in (f for r in reports for f in r.findings):
        name = f"{finding.flag} in {finding.column}" if finding.column else finding.flag
        if finding.severity == "violation" and finding.flag not in {"unknown_schema", "incompatible_schema"}:
            broken[name] = broken.get(name, 0) + finding.count
        elif finding.excepted:
            excepted[name] = excepted.get(name, 0) + finding.count
    if broken:
        return Condition("conformance", False, f"violations in {rows:,} rows of the last {window}: {_counts(broken)}")
    by = f"; by exception only: {_counts(excepted)}" if excepted else ""
    return Condition("conformance", True, f"no violation in {rows:,} rows of the last {window}{by}")


def _canary(evidence: Evidence, thresholds: Thresholds) -> Condition:
    began = evidence.policy.at
    reports = [
        r for r in evidence.reports if r.schema_mode == "canary" and _at(r, evidence.now).timestamp() * 1_000 >= began
    ]
    clean_since: datetime | None = None
    rows = 0
    refused: dict[str, int] = {}
    for report in reports:
        bad = [c for c in report.schemas if c.reason is not None and not c.excepted]
        for count in bad:
            refused[count.reason or ""] = refused.get(count.reason or "", 0) + count.rows
        if bad:
            clean_since, rows = None, 0
            continue
        clean_since = clean_since or _at(report, evidence.now)
        rows += report.rows_in
    if clean_since is None:
        why = f"strict would refuse {_counts(refused)}" if refused else "no row was judged since canary began"
        return Condition("canary", False, why)
    hours = (evidence.now - clean_since).total_seconds() / 3_600
    enough = rows >= thresholds.rows or hours >= thresholds.hours
    asked = f"asked are {thresholds.rows:,} rows or {thresholds.hours:g} h"
    before = f"; before that strict would have refused {_counts(refused)}" if refused else ""
    return Condition("canary", enough, f"clean for {rows:,} rows and {hours:.1f} h; {asked}{before}")


def _producers(reports: Sequence[ConformanceReport]) -> Condition:
    rows: dict[int, int] = {}
    judged: dict[int, str | None] = {}
    excepted: set[int] = set()
    for count in (c for r in reports for c in r.schemas):
        rows[count.schema_id] = rows.get(count.schema_id, 0) + count.rows
        if count.reason is not None or count.version is not None:
            judged[count.schema_id] = count.reason  # the newest verdict counts: it may have been registered since
        if count.excepted:
            excepted.add(count.schema_id)
    if not rows:
        return Condition("producers", False, "no report tells which schemas rows are written with")
    strangers = [i for i in rows if judged.get(i, "not judged") is not None and i not in excepted]
    if strangers:
        named = [f"id {i} ({rows[i]:,} rows, {judged.get(i, 'not judged')})" for i in strangers[:_SHOWN]]
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        return Condition("producers", False, f"some write what strict refuses: {', '.join(named)}{more}")
    return Condition("producers", True, f"all write registered schemas: {len(rows)} in use")


def _levels(evidence: Evidence) -> Condition:
    wanted, dataset = evidence.policy.compatibility, evidence.policy.dataset
    says = f"the raw subject is {evidence.raw_level}, the contract {evidence.contract_level}"
    if not covers(evidence.raw_level, wanted):
        remedy = f"`seamless schema compatibility {dataset} {wanted} --reason ...`"
        return Condition("compatibility", False, f"{says}; asked of the raw subject is {wanted}: {remedy}")
    if not covers(evidence.contract_level, "FULL_TRANSITIVE"):
        return Condition("compatibility", False, f"{says}; asked of the contract is FULL_TRANSITIVE: register it again")
    return Condition("compatibility", True, says)


def _span(window: timedelta) -> str:
    seconds = window.total_seconds()
    return f"{seconds / 3_600:g} h" if seconds >= 3_600 else spelled(seconds)


def _counts(found: dict[str, int]) -> str:
    most = sorted(found.items(), key=lambda item: -item[1])
    more = f" and {len(most) - _SHOWN} more" if len(most) > _SHOWN else ""
    return ", ".join(f"{name} ({count:,} rows)" for name, count in most[:_SHOWN]) + more
