"""Jobs, shards and their progress for tests, made without planning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coordinator.shards import Job, Progress, Shard, ShardState

__all__ = ["HOUR", "job_of", "progress_of", "shard_of"]

HOUR = 3_600_000_000_000


def shard_of(name: str, *, job: str = "job-a", hour: int = 0, **changes: Any) -> Shard:
    """Return a shard of an hour."""
    shard = Shard(
        id=f"shard-{name}",
        job=job,
        dataset="bars",
        symbols=("AAA",),
        start=hour * HOUR,
        end=(hour + 1) * HOUR,
        source="files:none",
        as_of=1,
        contract_version=1,
        estimated_rows=60,
        partition=hour % 6,
    )
    return replace(shard, **changes)


def progress_of(shard: Shard, state: ShardState, *, attempt: int = 1, sequence: int = 0, **changes: Any) -> Progress:
    """Return what a worker says of a shard."""
    return replace(Progress(shard, state, attempt, sequence, at=1_000 + sequence), **changes)


def job_of(name: str, *shards: Shard, **changes: Any) -> Job:
    """Return a job of these shards."""
    job = Job(
        id=name,
        epoch=1,
        dataset="bars",
        symbols=("AAA",),
        start=0,
        end=100 * HOUR,
        interval="1m",
        source="files:none",
        as_of=1,
        contract_version=1,
        urgent=False,
        shards=tuple(s.id for s in shards),
        estimated_rows=sum(s.estimated_rows for s in shards),
        requested_by="test",
        created_at=1,
    )
    return replace(job, **changes)
