"""From the view to what callers are told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from coordinator.protocol import CoverageStatus, JobStatus, LeaseStatus, ShardStatus, TimeRange
from coordinator.ranges import Range
from coordinator.shards import Job, Progress
from coordinator.tally import Tally
from coordinator.view import Covered, Lease, View

__all__ = ["coverage_status", "job_status", "lease_status", "moment", "nanoseconds", "planned_status", "shard_status"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(ns: int) -> datetime:
    """Return nanoseconds since the epoch as a moment in UTC; what is below a microsecond is cut off."""
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def nanoseconds(at: datetime) -> int:
    """Return an aware moment as nanoseconds since the epoch."""
    return (at - _EPOCH) // _MICROSECOND * 1_000


def job_status(view: View, job: str) -> JobStatus:
    """Return how far a job is; KeyError if there is no such job."""
    tally = view.tally(job)
    return _job(tally, view)


def planned_status(job: Job, shards: Iterable[Progress]) -> JobStatus:
    """Return what would be said of a job that is only planned; `shards` are those it would count."""
    view = View()
    for shard in shards:
        view.apply(shard)
    view.apply(job)
    return job_status(view, job.id)


def _job(tally: Tally, view: View) -> JobStatus:
    job = tally.job
    return JobStatus(
        id=job.id,
        epoch=job.epoch,
        state=view.state(job.id),
        dataset=job.dataset,
        symbols=job.symbols,
        start=moment(job.start),
        end=moment(job.end),
        source=job.source,
        as_of=_ms(job.as_of),
        urgent=job.urgent,
        created_at=_ms(job.created_at),
        requested_by=job.requested_by,
        shards=len(job.shards),
        shards_by_state=tally.by_state(),
        rows=tally.rows,
        estimated_rows=job.estimated_rows,
        ratio=tally.ratio,
    )


def shard_status(progress: Progress) -> ShardStatus:
    """Return how far a shard is."""
    shard = progress.shard
    return ShardStatus(
        id=shard.id,
        job=shard.job,
        dataset=shard.dataset,
        symbols=shard.symbols,
        start=moment(shard.start),
        end=moment(shard.end),
        state=progress.state,
        urgent=shard.urgent,
        partition=shard.partition,
        offset=progress.offset,
        epoch=shard.epoch,
        attempt=progress.attempt,
        chunks=progress.sequence,
        rows=progress.rows,
        rejected=progress.rejected,
        outside=progress.outside,
        estimated_rows=shard.estimated_rows,
        digest=progress.digest,
        member=progress.member,
        host=progress.host,
        lease_epoch=progress.lease_epoch,
        updated_at=_ms(progress.at),
        error=progress.error,
    )


def lease_status(lease: Lease, queue: str, stalled_after_ms: float) -> LeaseStatus:
    """Return who holds a shard; `queue` is the topic that it stands in."""
    progress, shard = lease.progress, lease.progress.shard
    return LeaseStatus(
        queue=queue,
        partition=shard.partition,
        shard=shard.id,
        job=shard.job,
        member=progress.member,
        host=progress.host,
        epoch=progress.lease_epoch,
        attempt=progress.attempt,
        cursor=progress.cursor,
        rows=progress.rows,
        seconds_since_progress=lease.silence_ms / 1_000,
        stalled=lease.silence_ms > stalled_after_ms,
    )


def coverage_status(dataset: str, symbol: str, covered: Covered) -> CoverageStatus:
    """Return what was fetched of a symbol."""
    return CoverageStatus(
        dataset=dataset, symbol=symbol, complete=_ranges(covered.complete), running=_ranges(covered.running)
    )


def _ranges(ranges: Iterable[Range]) -> tuple[TimeRange, ...]:
    return tuple(TimeRange(start=moment(r.start), end=moment(r.end)) for r in ranges)


def _ms(at: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at)
