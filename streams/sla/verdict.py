"""What was found of a promise at the end of a window, and the breach records that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from streams.sla.breach import Breach, Burn, Example, Reason, Severity, breach_id
from streams.sla.objectives import Watch

__all__ = ["Links", "Verdict", "follow", "moment", "nanos", "resolved"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found at the end of a window.

    Attributes:
        start, end: the window, nanoseconds since the epoch.
        broken: how bad it is; None if the promise is kept, or nothing can be said.
        decided: whether it says anything: a window with too few observations does not.
        promised: the limit; by default that of the objective.
        began: what tells this breach from others of the series; by default the start of the window.
    """

    start: int
    end: int
    broken: Severity | None = None
    decided: bool = True
    observed: float | None = None
    promised: float | None = None
    count: int = 0
    over: int = 0
    burn: tuple[Burn, ...] = ()
    examples: tuple[Example, ...] = ()
    synthetic: bool = False
    began: int | str | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """What breaches lead to: patterns with blanks for `objective`, `kind`, `dataset`, `consumer` and `phase`."""

    world: str
    runbook: str | None = None
    dashboard: str | None = None


def follow(
    watch: Watch, links: Links, last: Breach | None, verdict: Verdict, subject: str | None = None
) -> Breach | None:
    """Return the record that a verdict calls for; None if nothing changes.

    Args:
        last: the latest record of the breach that is open; None if none is.
    """
    if last is None:
        return _opened(watch, links, verdict, subject) if verdict.broken and verdict.decided else None
    if not verdict.decided:
        return None
    if verdict.broken is None:
        seen = verdict.count > 0 or verdict.observed is not None
        return resolved(_told(watch, last, verdict), "kept" if seen else "silent")
    lasted = verdict.end - nanos(last.opened_at)
    too_long = watch.escalate_after is not None and lasted >= watch.escalate_after
    if last.severity == "warning" and (verdict.broken == "critical" or too_long):
        return replace(_told(watch, last, verdict), state="escalated", severity="critical", sequence=last.sequence + 1)
    return None


def resolved(last: Breach, reason: Reason) -> Breach:
    """Return the record that ends a breach."""
    return replace(last, state="resolved", sequence=last.sequence + 1, reason=reason)


def moment(at: int) -> datetime:
    """Return nanoseconds since the epoch as an aware datetime, to the microsecond."""
    return _EPOCH + timedelta(microseconds=at // 1_000)


def nanos(at: datetime) -> int:
    """Return an aware datetime as nanoseconds since the epoch."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1_000


def _opened(watch: Watch, links: Links, verdict: Verdict, subject: str | None) -> Breach:
    blanks = {**watch.series._asdict(), "objective": watch.name, "kind": watch.kind}
    series, began = watch.series, verdict.start if verdict.began is None else verdict.began
    critical = "critical" in {verdict.broken, watch.settings.severity}
    first = Breach(
        id=breach_id(links.world, watch.name, series.dataset, watch.consumer, series.phase, began),
        sequence=0,
        state="opened",
        severity="critical" if critical else "warning",
        world=links.world,
        objective=watch.name,
        kind=watch.kind,
        promise=watch.promise,
        dataset=series.dataset,
        consumer=watch.consumer,
        phase=series.phase,
        interval=watch.interval,
        subject=subject,
        window_start=moment(verdict.start),
        window_end=moment(verdict.end),
        promised=0.0,
        unit=watch.unit,
        runbook_url=_link(watch.settings.runbook_url or links.runbook, blanks),
        dashboard_url=_link(watch.settings.dashboard_url or links.dashboard, blanks),
        opened_at=moment(verdict.end),
        at=moment(verdict.end),
        synthetic=verdict.synthetic,
    )
    return _told(watch, first, verdict)


def _told(watch: Watch, breach: Breach, verdict: Verdict) -> Breach:
    return replace(
        breach,
        window_start=moment(verdict.start),
        window_end=moment(verdict.end),
        at=moment(verdict.end),
        observed=verdict.observed,
        promised=verdict.promised if verdict.promised is not None else watch.limit or 0.0,
        count=verdict.count,
        over=verdict.over,
        burn=verdict.burn,
        examples=verdict.examples or breach.examples,
        synthetic=breach.synthetic or (verdict.synthetic and verdict.broken is not None),
    )


def _link(pattern: str | None, blanks: Mapping[str, str]) -> str | None:
    if pattern is None:
        return None
    for name, value in blanks.items():
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern
