"""Who held a shard, under which epoch, when and why it moved: a sentence for each recorded event. Pure.

What moved a lease may have told nobody: a process that was killed writes no event. Its successor's claim tells it, so
what the log does not say is inferred from what comes next, and the sentence says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.shards import Progress, ShardState

__all__ = ["Explanation", "Holding", "Step", "explain"]

_CLAIMS = (LeaseChange.CLAIMED, LeaseChange.RESUMED)
_ENDS = {
    LeaseChange.COMPLETED: "completed",
    LeaseChange.FAILED: "failed",
    LeaseChange.CANCELLED: "cancelled",
    LeaseChange.SKIPPED: "skipped",
    LeaseChange.PARKED: "parked",
}
_LEAVES = {
    LeaseChange.CHECKPOINTED: "drained",
    LeaseChange.REVOKED: "revoked",
    LeaseChange.LOST: "lost",
    LeaseChange.RELEASED: "released",
    LeaseChange.YIELDED: "yielded",
    LeaseChange.FENCED: "fenced",
    LeaseChange.STALLED: "stalled",
}


@dataclass(frozen=True, slots=True)
class Holding:
    """One lease, from its claim to its end.

    Attributes:
        lease_epoch: the member's epoch when it took the lease.
        began, ended: milliseconds since the epoch; `ended` is None while it is held.
        rows_before, rows_after: rows written when it began, and when it ended as far as it is told.
        how: what ended it; `silent` if its holder told nothing before the next claim.
    """

    host: str
    member: str
    lease_epoch: int
    attempt: int
    queue: str
    partition: int
    offset: int
    began: int
    rows_before: int
    ended: int | None = None
    rows_after: int | None = None
    how: str = "held"


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded event and what it means."""

    at: int
    event: str
    host: str
    lease_epoch: int
    attempt: int
    rows: int
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The history of a shard's leases, oldest first.

    Attributes:
        moves: how often another process went on with it.
        now: how it stands, in a sentence.
    """

    shard: str
    state: str
    steps: tuple[Step, ...]
    holdings: tuple[Holding, ...]
    moves: int
    now: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it; times in ISO 8601."""
        datum = asdict(self)
        for step in datum["steps"]:
            step["at"] = _iso(step["at"])
        for holding in datum["holdings"]:
            holding["began"] = _iso(holding["began"])
            holding["ended"] = None if holding["ended"] is None else _iso(holding["ended"])
        return datum


def explain(progress: Progress, events: Iterable[LeaseEvent]) -> Explanation:
    """Tell the history of a shard from the events about it, in the order of the log; others are left out."""
    mine = [event for event in events if event.shard == progress.shard.id]
    steps: list[Step] = []
    holdings: list[Holding] = []
    for event in mine:
        before = holdings[-1] if holdings else None
        steps.append(_step(event, before, mine))
        _book(event, holdings)
    moves = sum(1 for one, other in pairwise(holdings) if one.host != other.host)
    now = _now(progress, holdings)
    return Explanation(progress.shard.id, progress.state.value, tuple(steps), tuple(holdings), moves, now)


def _book(event: LeaseEvent, holdings: list[Holding]) -> None:
    """Open, end or annotate a holding."""
    if event.event in _CLAIMS:
        if holdings and holdings[-1].ended is None:
            holdings[-1] = replace(holdings[-1], ended=event.at, rows_after=event.rows, how="silent")
        holdings.append(
            Holding(
                event.host, event.member, event.lease_epoch, event.attempt, event.queue, event.partition, event.offset,
                event.at, event.rows,
            )
        )  # fmt: skip
        return
    # What is told beside the transactions may come late: after the next one's claim.
    at = next((i for i in reversed(range(len(holdings))) if _same(holdings[i], event)), None)
    if at is None:
        return
    held = holdings[at]
    if event.event in _ENDS:
        holdings[at] = replace(held, ended=event.at, rows_after=event.rows, how=_ENDS[event.event])
    elif held.ended is None:
        holdings[at] = replace(held, ended=event.at, rows_after=event.rows, how=_LEAVES[event.event])
    elif held.how == "silent":
        holdings[at] = replace(held, how=_LEAVES[event.event])


def _same(held: Holding, event: LeaseEvent) -> bool:
    return (held.member, held.offset, held.attempt) == (event.member, event.offset, event.attempt)


def _step(event: LeaseEvent, before: Holding | None, mine: Sequence[LeaseEvent]) -> Step:
    text = _claim_text(event, before) if event.event in _CLAIMS else _other_text(event)
    if event.event not in _CLAIMS and event.event not in _ENDS and _came_late(event, mine):
        text += " This was told after the next claim."
    return Step(event.at, event.event.value, event.host, event.lease_epoch, event.attempt, event.rows, text)


def _claim_text(event: LeaseEvent, before: Holding | None) -> str:
    who = f"{event.host} (member epoch {event.lease_epoch})"
    where = f"from partition {event.partition} of {event.queue}, as attempt {event.attempt}."
    if before is None:
        return f"{who} {'claimed it' if event.event is LeaseChange.CLAIMED else 'went on'}{_after(event)}, {where}"
    if event.offset != before.offset or event.queue != before.queue:
        return f"It had been queued again: {who} claimed it{_after(event)}, {where}"
    gap = _seconds(event.at - (before.ended or before.began))
    attempt = f"{_after(event)}, as attempt {event.attempt}."
    if before.ended is not None:
        again = "again" if event.host == before.host else f"in place of {before.host}"
        return f"{who} took it {again}, {gap} later{attempt}"
    again = "again" if event.host == before.host else "in its place"
    return (
        f"{before.host} told of no end: it was killed, suspended or cut off, or its transaction failed. "
        f"{gap} after its claim {who} took it {again}{attempt}"
    )


def _after(event: LeaseEvent) -> str:
    return f" after {event.rows:,} rows" if event.rows else " at its beginning"


def _other_text(event: LeaseEvent) -> str:
    who, rows = event.host, f"{event.rows:,} rows"
    because = f": {event.detail}" if event.detail else ""
    texts = {
        LeaseChange.COMPLETED: f"{who} completed it with {rows}.",
        LeaseChange.FAILED: f"{who} gave it up after {rows}{because}.",
        LeaseChange.CANCELLED: f"{who} ended it after {rows}, as its job was cancelled{because}.",
        LeaseChange.SKIPPED: f"{who} ended it after {rows}, as an operator skipped it{because}.",
        LeaseChange.PARKED: f"{who} took it out of the queue after {rows}, as its job was paused{because}.",
        LeaseChange.CHECKPOINTED: f"{who} was told to end and left it at {rows}{because}.",
        LeaseChange.REVOKED: f"The group gave its partition to another member; {who} stopped after {rows}{because}.",
        LeaseChange.LOST: f"The group had put {who} out before it noticed; what it had not committed is void{because}.",
        LeaseChange.RELEASED: f"An operator released the lease; {who} dropped it after {rows}{because}.",
        LeaseChange.YIELDED: f"{who} left it at {rows} to an urgent shard that found no free slot{because}.",
        LeaseChange.FENCED: f"The broker refused a transaction of {who}, which no longer held the lease{because}.",
        LeaseChange.STALLED: f"{who} got nowhere for too long at {rows}, and its process ended{because}.",
    }
    return texts[event.event].replace("..", ".")


def _came_late(event: LeaseEvent, mine: Sequence[LeaseEvent]) -> bool:
    at = next(i for i, other in enumerate(mine) if other is event)
    return any(e.event in _CLAIMS and (e.offset, e.attempt) > (event.offset, event.attempt) for e in mine[:at])


def _now(progress: Progress, holdings: Sequence[Holding]) -> str:
    shard, state = progress.shard, progress.state
    times = f"epoch {shard.epoch}" + (f", attempt {progress.attempt}" if progress.attempt else "")
    if state is ShardState.PENDING:
        return f"It waits in partition {shard.partition} of its queue ({times})."
    if state is ShardState.RUNNING:
        last = holdings[-1] if holdings else None
        if last is not None and last.ended is not None and last.attempt == progress.attempt:
            return f"It waits to be taken again, after {progress.rows:,} rows ({times})."
        return f"{progress.host} holds it and has written {progress.rows:,} rows ({times})."
    because = f": {progress.error}" if progress.error else ""
    return f"It is {state.value} with {progress.rows:,} rows ({times}){because}."


def _seconds(milliseconds: int) -> str:
    seconds = max(0, milliseconds) / 1_000
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def _iso(milliseconds: int) -> str:
    stamp = datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")
