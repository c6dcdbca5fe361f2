"""What is to be written when somebody asks for something: pure decisions over the view.

Each returns the events to write in one transaction; none where all is as wished already, so asking again changes
nothing. What is queued always belongs to the newest epoch of its job, and an order names that epoch: it reaches every
shard that the job has in the queue, and none that is queued later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from coordinator.orders import Order, OrderKind
from coordinator.protocol import BackfillRejected, NotFound
from coordinator.records import Event
from coordinator.shards import Job, Progress, ShardState
from coordinator.view import Lease, View

__all__ = ["Author", "cancel", "in_force", "mend", "pause", "release", "renewed", "requeue", "resume", "retry", "skip"]

AGAIN = (ShardState.FAILED, ShardState.CANCELLED, ShardState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks, why, and when (milliseconds since the epoch)."""

    by: str
    at: int
    reason: str | None = None

    def order(
        self, before: Order | None, target: str, kind: OrderKind, epoch: int, attempt: int | None = None
    ) -> Order:
        """Return an order, later than the one before about the same target, whatever the clocks say."""
        at = self.at if before is None else max(self.at, before.at + 1)
        return Order(target, kind, epoch, attempt, self.by, self.reason, at)


def in_force(view: View, job: Job) -> Order | None:
    """Return what was ordered about a job and holds: nothing was asked for anew since."""
    order = view.order(job.id)
    return order if order is not None and order.epoch >= job.epoch else None


def renewed(job: Job) -> Job:
    """Return the job as asked for anew; earlier orders do not reach what is queued for it now."""
    return replace(job, epoch=job.epoch + 1)


def requeue(shards: Iterable[Progress], job: Job, at: int) -> list[Event]:
    """Return the events that queue shards which have ended again, for a job, from their cursors."""
    events: list[Event] = []
    for ended in shards:
        queued = ended.requeued(at, keep_cursor=True)
        urgent = ended.shard.urgent or job.urgent
        shard = replace(queued.shard, job=job.id, job_epoch=job.epoch, urgent=urgent)
        events += [shard, replace(queued, shard=shard)]
    return events


def cancel(view: View, name: str, author: Author) -> list[Event]:
    """Stop a job; what is parked is in no worker's hands and ends at once. NotFound if there is none."""
    job = _job(view, name)
    if view.state(name) not in ("pending", "running", "paused"):
        return []
    parked = (p for p in view.shards_of(name) if p.state is ShardState.PARKED and p.shard.job == name)
    return [
        author.order(view.order(name), name, OrderKind.CANCEL, job.epoch),
        *(_ended(p, ShardState.CANCELLED, author) for p in parked),
    ]


def pause(view: View, name: str, author: Author) -> list[Event]:
    """Take a job out of the queue. NotFound if there is none, BackfillRejected if there is nothing to pause."""
    job, state = _job(view, name), view.state(name)
    if state == "paused":
        return []
    if state not in ("pending", "running"):
        raise BackfillRejected(f"{name} is {state}: only what is pending or running can be paused", field="job")
    return [author.order(view.order(name), name, OrderKind.PAUSE, job.epoch)]


def resume(view: View, name: str, author: Author) -> list[Event]:
    """Queue what a pause took out. NotFound if there is none, BackfillRejected if the job was cancelled."""
    job, state = _job(view, name), view.state(name)
    if state in ("cancelling", "cancelled"):
        raise BackfillRejected(f"{name} is {state}: request it again to queue it anew", field="job")
    parked = [p for p in view.shards_of(name) if p.state is ShardState.PARKED and p.shard.job == name]
    if not parked and not _holds(view, job, OrderKind.PAUSE):
        return []
    again = renewed(job)
    order = author.order(view.order(name), name, OrderKind.RESUME, again.epoch)
    return [again, order, *requeue(parked, again, author.at)]


def skip(view: View, name: str, author: Author) -> list[Event]:
    """Give a shard up. NotFound if there is none, BackfillRejected if it has ended."""
    progress = _shard(view, name)
    if progress.state is ShardState.PARKED:
        return [_ended(progress, ShardState.SKIPPED, author)]
    if progress.state.ended:
        raise BackfillRejected(
            f"{name} is {progress.state.value}: only what has not ended can be skipped", field="shard"
        )
    before, epoch = view.order(name), progress.shard.epoch
    if before is not None and before.order is OrderKind.SKIP and before.epoch == epoch:
        return []
    return [author.order(before, name, OrderKind.SKIP, epoch)]


def retry(view: View, name: str, author: Author) -> list[Event]:
    """Queue a shard again. NotFound if there is none, BackfillRejected if it did not end badly."""
    progress = _shard(view, name)
    if progress.state not in AGAIN:
        raise BackfillRejected(
            f"{name} is {progress.state.value}: only what failed, was skipped or was cancelled can be tried again",
            field="shard",
        )
    job = _job(view, progress.shard.job)
    if not _holds(view, job, OrderKind.CANCEL):
        return requeue([progress], job, author.at)
    again = renewed(job)  # or the cancellation would reach it
    return [again, *requeue([progress], again, author.at)]


def release(view: View, partition: int, urgent: bool, author: Author) -> tuple[Lease, list[Event]]:
    """End the lease of a partition's shard; return it as it is. NotFound if no shard of the partition runs."""
    for lease in view.leases(author.at):
        shard = lease.progress.shard
        if (shard.partition, shard.urgent) == (partition, urgent):
            before, attempt = view.order(shard.id), lease.progress.attempt
            if (
                before is not None
                and before.order is OrderKind.RELEASE
                and (before.epoch, before.attempt) == (shard.epoch, attempt)
            ):
                return lease, []
            return lease, [author.order(before, shard.id, OrderKind.RELEASE, shard.epoch, attempt)]
    queue = "urgent" if urgent else "ordinary"
    raise NotFound(f"no shard of partition {partition} of the {queue} queue runs: list the leases to see which do")


def mend(view: View, author: Author) -> list[Event]:
    """Queue again what ended under an order that was taken back before its worker heard of that."""
    events: list[Event] = []
    for progress in view.stranded():
        job = view.job(progress.shard.job)
        if job is not None:
            events += requeue([progress], job, author.at)
    return events


def _holds(view: View, job: Job, kind: OrderKind) -> bool:
    order = in_force(view, job)
    return order is not None and order.order is kind


def _ended(progress: Progress, state: ShardState, author: Author) -> Progress:
    return replace(progress, state=state, at=max(author.at, progress.at + 1))


def _job(view: View, name: str) -> Job:
    job = view.job(name)
    if job is None:
        raise NotFound(f"there is no job {name}: `seamless backfill list` shows those there are")
    return job


def _shard(view: View, name: str) -> Progress:
    progress = view.shard(name)
    if progress is None:
        raise NotFound(f"there is no shard {name}: `seamless backfill show` names those of a job")
    return progress
