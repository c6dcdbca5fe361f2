"""Whether promises are kept: agents are current, nothing is broken, no more broke than usual; pure.

Breaches of drills (synthetic ones) say nothing of the system and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from streams.ready.span import Span, usual
from streams.ready.verdict import Verdict, failed, passed
from streams.sla.breach import Breach
from streams.sla.status import Standing

__all__ = ["ObjectiveFacts", "objectives_verdict"]

CHECK = "objectives"
_SHOWN = 3
_BEHIND = timedelta(minutes=1)
_CHECKPOINTS = 3


@dataclass(frozen=True, slots=True)
class ObjectiveFacts:
    """What is known of promises.

    Attributes:
        standings: how each stands, as agents wrote it last.
        breaches: records of window and baseline.
        checkpoint: how often agents write how promises stand.
    """

    standings: Sequence[Standing]
    breaches: Sequence[Breach]
    checkpoint: timedelta


def objectives_verdict(facts: ObjectiveFacts, span: Span) -> Verdict:
    """Judge promises by what agents wrote."""
    as_of = max((each.as_of for each in facts.standings if each.as_of is not None), default=None)
    if as_of is None:
        return failed(
            CHECK,
            "nothing is observed, so nothing is known",
            "Run `seamless sla-agent`, and let readers fetch; `seamless sla objectives check` says what is watched.",
        )
    if span.end - as_of > max(_BEHIND, _CHECKPOINTS * facts.checkpoint):
        return failed(
            CHECK,
            f"agents wrote last how promises stand at {as_of:%Y-%m-%d %H:%M:%S} UTC",
            "Start `seamless sla-agent`; if it runs, its log says what it waits for.",
        )
    broken = [each for each in facts.standings if each.breach is not None and not each.breach.synthetic]
    if broken:
        return failed(
            CHECK,
            f"{len(broken)} of {len(facts.standings)} are broken: {_named(broken)}",
            "`seamless sla status` shows by how much, and the breach's runbook what to do.",
        )
    spent = [each for each in facts.standings if each.budget_left is not None and each.budget_left <= 0]
    if spent:
        return failed(
            CHECK,
            f"the error budget is used up: {_named(spent)}",
            "Hold back changes until it has recovered: `seamless sla status` shows what is left.",
        )
    opened = [breach.opened_at for breach in facts.breaches if breach.state == "opened" and not breach.synthetic]
    counts = span.counts(opened)
    if counts[0] > usual(counts[1:]):
        return failed(
            CHECK,
            f"none is broken now, and {counts[0]} broke in the last {span.words} (usual is {usual(counts[1:]):g})",
            "Find the cause (`seamless sla status`, `seamless sla replay`), then wait until the window is past it.",
        )
    return passed(CHECK, _well(facts, span, counts[0]))


def _well(facts: ObjectiveFacts, span: Span, broke: int) -> str:
    left = min((each.budget_left for each in facts.standings if each.budget_left is not None), default=None)
    rates = [each.observed for each in facts.standings if each.unit == "rate" and each.observed is not None]
    burns = f"; budgets burn at most {max(rates):.2f} times as fast as they may" if rates else ""
    budget = f"; the least budget left is {left:.1%}" if left is not None else ""
    return f"none of {len(facts.standings)} is broken; in the last {span.words} {broke} broke{burns}{budget}"


def _named(found: Sequence[Standing]) -> str:
    names = [f"{each.objective} of {' for '.join(filter(None, (each.dataset, each.consumer)))}" for each in found]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
