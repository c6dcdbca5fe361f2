"""What happened in a span of time, out of breaches, changes of modes, and what operators did; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from schemas.report import ConformanceReport
from streams.durations import spelled
from streams.operating.operation import ROLLBACKS, Operation
from streams.schema_audit import AuditEntry
from streams.sla.breach import Breach

__all__ = ["Event", "Impact", "Kind", "impact_of", "of_audit", "of_breaches", "of_operations", "of_reports"]

Kind = Literal["breach", "mode", "rollback", "override", "undo", "deploy"]

_MODES = {"mode", "promoted", "demoted", "compatibility"}


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One thing that happened.

    Attributes:
        at: when, in UTC.
        about: the dataset, or what else it is about; empty if it is about the system.
        by, why: of what people did.
    """

    at: datetime
    kind: Kind
    about: str
    what: str
    by: str = ""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON has it."""
        return {"at": self.at.isoformat()} | {n: getattr(self, n) for n in ("kind", "about", "what", "by", "why")}


@dataclass(frozen=True, slots=True)
class Impact:
    """What it came to.

    Attributes:
        before: breaches that were open when the span began.
        opened: those that opened within it.
        left: those that were open at its end.
        longest: how long the longest lasted within the span.
        datasets: of which promises were broken.
    """

    before: int
    opened: int
    left: int
    longest: timedelta
    datasets: tuple[str, ...]


def of_breaches(breaches: Iterable[Breach]) -> Iterator[Event]:
    """Yield each state that a breach went through; drills are told as such."""
    for each in breaches:
        about = each.dataset if each.consumer is None else f"{each.dataset}, {each.consumer}"
        what = f"{each.objective} {each.state}, {each.severity}"
        if each.state == "resolved":
            what = f"{each.objective} resolved after {_whole(each.at - each.opened_at)}"
        elif each.observed is not None:
            amount = spelled(each.observed) if each.unit == "seconds" else f"{each.observed:.4g}"
            what += f": {amount} where promised was {each.promise}"
        yield Event(each.at, "breach", about, what + (" (a drill)" if each.synthetic else ""))


def of_audit(entries: Iterable[AuditEntry]) -> Iterator[Event]:
    """Yield each change of how schemas are judged; what operations tell themselves is left to them."""
    for each in entries:
        if each.what in _MODES:
            about = each.dataset or each.subject or ""
            what = f"schemas: {each.before or 'unknown'} -> {each.after or 'unknown'}"
            yield Event(each.when, "mode", about, what, each.by, each.reason or "")


def of_reports(reports: Iterable[ConformanceReport]) -> Iterator[Event]:
    """Yield each change of conformance's mode that rows felt, whoever set it; reports of a dataset in their order."""
    before: dict[str, str] = {}
    for each in reports:
        if each.created_at is None or any(
            r.partition < 0 for r in each.ranges
        ):  # fetched history has a mode of its own
            continue
        mode = before.setdefault(each.dataset, each.mode)
        if mode != each.mode:
            before[each.dataset] = each.mode
            yield Event(each.created_at, "mode", each.dataset, f"conformance: {mode} -> {each.mode}")


def of_operations(operations: Iterable[Operation]) -> Iterator[Event]:
    """Yield what operators did, one event for each thing that they changed."""
    for each in operations:
        if each.what == "deploy":
            yield Event(each.when, "deploy", "", f"version {each.version}", each.by, each.reason)
        kind: Kind = "rollback" if each.what in ROLLBACKS else "undo" if each.what == "undo" else "override"
        name = f"{each.what}: " if each.what in ROLLBACKS else ""
        for change in each.changes:
            what = f"{name}{change.target}: {change.was or 'unknown'} -> {change.now}"
            yield Event(each.when, kind, change.dataset or "", what, each.by, each.reason)


def impact_of(breaches: Iterable[Breach], begin: datetime, end: datetime) -> Impact:
    """Return what breaches came to between two moments; drills do not count.

    Args:
        breaches: all records that there are of them up to the end, those of one breach in their order.
    """
    opened: dict[str, Breach] = {}
    over: dict[str, datetime] = {}
    for each in breaches:
        if each.synthetic or each.at > end:
            continue
        opened.setdefault(each.id, each)
        if each.state == "resolved":
            over[each.id] = each.at
    within = {key: one for key, one in opened.items() if key not in over or over[key] >= begin}
    lasted = [min(over.get(key, end), end) - max(one.opened_at, begin) for key, one in within.items()]
    return Impact(
        before=sum(one.opened_at < begin for one in within.values()),
        opened=sum(one.opened_at >= begin for one in within.values()),
        left=sum(key not in over for key in within),
        longest=max(lasted, default=timedelta()),
        datasets=tuple(sorted({one.dataset for one in within.values()})),
    )


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))
