"""What the shards of a job add up to, kept up to date shard by shard, and the state of the job that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from coordinator.orders import Order, OrderKind
from coordinator.protocol import JobState
from coordinator.shards import Job, Progress, ShardState

__all__ = ["Tally", "state_of"]


@dataclass(slots=True)
class Tally:
    """Sums over those shards of a job that are known; a shard weighs what it is estimated to have, at least one row.

    `active` counts the shards that the job's own orders reach and a worker has yet to answer for.
    """

    job: Job
    counts: dict[ShardState, int] = field(default_factory=dict)
    known: int = 0
    active: int = 0
    rows: int = 0
    weight: int = 0
    done: int = 0

    @classmethod
    def of(cls, job: Job, shards: Iterable[Progress]) -> Tally:
        """Add up from the beginning."""
        tally = cls(job)
        for shard in shards:
            tally.add(shard, 1)
        return tally

    def add(self, progress: Progress, sign: int) -> None:
        """Take a shard in (1) or out (-1)."""
        state = progress.state
        self.counts[state] = self.counts.get(state, 0) + sign
        self.known += sign
        self.rows += sign * progress.rows
        weight = sign * max(progress.shard.estimated_rows, 1)
        self.weight += weight
        if state is ShardState.DONE:
            self.done += weight
        elif not state.ended and progress.shard.job == self.job.id:
            self.active += sign

    def by_state(self) -> dict[ShardState, int]:
        """Return how many shards are in each state that one is in; a shard not heard of yet is pending."""
        found = {state: count for state, count in self.counts.items() if count}
        if unknown := len(self.job.shards) - self.known:
            found[ShardState.PENDING] = found.get(ShardState.PENDING, 0) + unknown
        return {state: found[state] for state in ShardState if state in found}

    @property
    def total(self) -> int:
        """The rows that are estimated; a shard not heard of yet counts one."""
        return self.weight + len(self.job.shards) - self.known

    @property
    def ratio(self) -> float:
        """The share that is done: 1.0 if all is, and only then."""
        return 1.0 if self.done == self.total else min(self.done / self.total, 1 - 2**-53)


def state_of(tally: Tally, order: Order | None) -> JobState:
    """Return the state of a job, given the newest order about it.

    An order holds until the job is asked for anew. What is done stays done, whatever was ordered about it.
    """
    job, counts = tally.job, tally.by_state()
    if counts.keys() <= {ShardState.DONE}:
        return "done"
    in_force = order.order if order is not None and order.epoch >= job.epoch else None
    if in_force is OrderKind.CANCEL:
        return "cancelling" if tally.active or tally.known < len(job.shards) else "cancelled"
    waits = {ShardState.PENDING, ShardState.RUNNING, ShardState.PARKED} & counts.keys()
    if waits and in_force is OrderKind.PAUSE:
        return "paused"
    if waits:
        return "pending" if counts.keys() == {ShardState.PENDING} else "running"
    return "failed" if ShardState.FAILED in counts else "incomplete"
