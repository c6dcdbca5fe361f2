"""Whether leases of backfill are calm: none is stuck, and no more than usual were lost in the window; pure.

A handover that its holder told of, as in a deployment or when workers are added, is no trouble. What counts is what
went wrong: leases that stalled, were lost or fenced (a commit was refused), or were abandoned: another claim came while
their holder had told of no end, as it was killed, suspended or cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.protocol import LeaseStatus
from streams.ready.span import Span, usual
from streams.ready.verdict import Verdict, failed, passed

__all__ = ["LeaseFacts", "lease_verdict", "troubles"]

CHECK = "leases"
_CLAIMS = {LeaseChange.CLAIMED, LeaseChange.RESUMED}
_TOLD = {LeaseChange.STALLED: "stalled", LeaseChange.LOST: "lost", LeaseChange.FENCED: "fenced"}
_ABANDONED = "abandoned"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """What is known of leases.

    Attributes:
        held: those there are now, as the coordinator tells them.
        events: what the log of leases has of window and baseline, oldest first.
        asked: who told what is held: an address, or the topics.
    """

    held: Sequence[LeaseStatus]
    events: Sequence[LeaseEvent]
    asked: str


def troubles(events: Iterable[LeaseEvent]) -> dict[str, list[datetime]]:
    """Return when leases stalled, were lost or fenced, or were found abandoned by the next claim."""
    found: dict[str, list[datetime]] = {name: [] for name in (*_TOLD.values(), _ABANDONED)}
    last: dict[str, LeaseEvent] = {}
    for event in events:
        at = datetime.fromtimestamp(event.at / 1_000, UTC)
        if event.event in _TOLD:
            found[_TOLD[event.event]].append(at)
        elif event.event in _CLAIMS:
            before = last.get(event.shard)
            if before is not None and before.event in _CLAIMS:
                found[_ABANDONED].append(at)
        last[event.shard] = event
    return found


def lease_verdict(facts: LeaseFacts, span: Span) -> Verdict:
    """Judge leases: none stalled now, and of each kind of trouble no more in the window than usual."""
    stalled = [lease for lease in facts.held if lease.stalled]
    if stalled:
        named = ", ".join(f"{lease.shard} on {lease.host}" for lease in stalled[:_SHOWN])
        return failed(
            CHECK,
            f"{len(stalled)} of {len(facts.held)} leases get nowhere: {named}",
            "The runbook seamless-backfill-lease-stuck says how to release them.",
        )
    counts = {name: span.counts(moments) for name, moments in troubles(facts.events).items()}
    above = {name: n for name, n in counts.items() if n[0] > usual(n[1:])}
    if above:
        told = ", ".join(f"{n[0]} {name} (usual is {usual(n[1:]):g})" for name, n in above.items())
        return failed(
            CHECK,
            f"in the last {span.words}: {told}",
            "`seamless backfill explain SHARD` tells who held a shard; mend the workers, then wait until the window "
            "is past it.",
        )
    told = ", ".join(f"{n[0]} {name}" for name, n in counts.items())
    return passed(
        CHECK, f"{len(facts.held)} held, as {facts.asked} tells, none stuck; in the last {span.words}: {told}"
    )
