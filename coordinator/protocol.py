"""What a backfill coordinator does for its callers, in process or over HTTP, and the models they exchange."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from coordinator.shards import ShardState
from streams.errors import SeamlessError

__all__ = [
    "BackfillCoordinator",
    "BackfillRejected",
    "BackfillRequest",
    "CoordinatorUnavailable",
    "CoverageStatus",
    "JobState",
    "JobStatus",
    "LeaseStatus",
    "NotFound",
    "Page",
    "Planned",
    "ProgressEvent",
    "ShardStatus",
    "TimeRange",
]


class CoordinatorUnavailable(SeamlessError):  # noqa: N818 - the name that callers were promised
    """The coordinator could not be reached; nothing is known about the request."""


class BackfillRejected(SeamlessError):  # noqa: N818 - an answer, not an accident
    """A request makes no sense; `field` names the part of it that is wrong."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        self.field = field
        super().__init__(message)


class NotFound(SeamlessError):  # noqa: N818 - an answer, not an accident
    """There is no such job or shard."""


class Model(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeRange(Model):
    """From `start` up to and without `end`, both with a time zone."""

    start: AwareDatetime
    end: AwareDatetime


class BackfillRequest(Model):
    """History to fetch. Equal requests are one job."""

    dataset: str
    symbols: tuple[str, ...] = Field(min_length=1, max_length=100_000)
    start: AwareDatetime
    end: AwareDatetime
    source: str | None = Field(None, description="scheme:what; unset: the dataset's own source")
    as_of: AwareDatetime | None = Field(None, description="fetch again what was known at this moment; unset: newest")
    target_rows: int = Field(50_000, ge=1, le=10_000_000, description="rows that a shard should have, about")
    urgent: bool = Field(False, description="somebody waits for it: goes before what is not urgent")
    covered: dict[str, tuple[TimeRange, ...]] = Field(
        default_factory=dict, description="what the caller has already, by symbol; not fetched again"
    )
    requested_by: str = Field("", max_length=200)


JobState = Literal["pending", "running", "paused", "cancelling", "cancelled", "done", "failed", "incomplete"]


class ShardStatus(Model):
    """How far a shard is."""

    id: str
    job: str
    dataset: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    state: ShardState
    urgent: bool
    partition: int
    offset: int
    epoch: int
    attempt: int
    chunks: int
    rows: int
    rejected: int
    outside: int
    estimated_rows: int
    digest: str
    member: str
    host: str
    lease_epoch: int
    updated_at: datetime
    error: str | None = None


class JobStatus(Model):
    """How far a job is; `ratio` is the share of its shards that are done, weighted by estimated rows."""

    id: str
    epoch: int
    state: JobState
    dataset: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    source: str
    as_of: datetime
    urgent: bool
    created_at: datetime
    requested_by: str
    shards: int
    shards_by_state: dict[ShardState, int]
    rows: int
    estimated_rows: int
    ratio: float


class Planned(Model):
    """The answer to a request: the job, whether it is new, and how many shards were queued for it now."""

    job: JobStatus
    created: bool
    queued: int
    reason: str | None = Field(None, description="why nothing was queued, if nothing was")
    shards: tuple[ShardStatus, ...] = Field((), description="`plan` only: the first 1,000 that would be queued")


class LeaseStatus(Model):
    """Who holds a partition's shard."""

    queue: str
    partition: int
    shard: str
    job: str
    member: str
    host: str
    epoch: int
    attempt: int
    cursor: str | None
    rows: int
    seconds_since_progress: float
    stalled: bool


class CoverageStatus(Model):
    """What backfill has fetched of a symbol: ranges that are done."""

    dataset: str
    symbol: str
    complete: tuple[TimeRange, ...]
    running: tuple[TimeRange, ...]


class ProgressEvent(Model):
    """One change, as the event stream tells it."""

    kind: Literal["shard", "job", "lease"]
    id: str
    job: str
    state: str
    rows: int = 0
    partition: int | None = None
    host: str = ""
    at: datetime


class Page(Model):
    """A page of shards; `next` is given back to get the one after."""

    items: tuple[ShardStatus, ...]
    next: str | None = None


@runtime_checkable
class BackfillCoordinator(Protocol):
    """Plans and steers backfills. Every method raises CoordinatorUnavailable if it cannot know the answer."""

    def plan(self, request: BackfillRequest) -> Planned:
        """Return what `request` would do, without doing it; the job's shards are counted as pending.

        Raises:
            BackfillRejected: if the request makes no sense.
        """
        ...

    def request(self, request: BackfillRequest) -> Planned:
        """Plan a backfill and queue what nobody fetches yet; the same request again changes nothing.

        Raises:
            BackfillRejected: if the request makes no sense.
        """
        ...

    def jobs(self, *, dataset: str | None = None, state: JobState | None = None) -> list[JobStatus]:
        """Return the jobs there are, newest first."""
        ...

    def job(self, job: str) -> JobStatus:
        """Return one job; NotFound if there is none."""
        ...

    def cancel(self, job: str, *, reason: str | None = None) -> JobStatus:
        """Stop a job: shards that run end at their next chunk. NotFound if there is none."""
        ...

    def pause(self, job: str, *, reason: str | None = None) -> JobStatus:
        """Take a job's shards out of the queue at their next chunk, with their cursors. NotFound if there is none."""
        ...

    def resume(self, job: str) -> JobStatus:
        """Queue a paused job's shards again, from their cursors. NotFound if there is none."""
        ...

    def shards(
        self, *, job: str | None = None, state: ShardState | None = None, limit: int = 100, after: str | None = None
    ) -> Page:
        """Return a page of shards in the order of their ids, at most 1,000."""
        ...

    def shard(self, shard: str) -> ShardStatus:
        """Return one shard; NotFound if there is none."""
        ...

    def leases(self, *, stalled: bool | None = None) -> list[LeaseStatus]:
        """Return the leases of shards that run."""
        ...

    def release(self, partition: int, *, urgent: bool = False, reason: str | None = None) -> LeaseStatus:
        """End the lease of a partition's shard: its holder drops it and the group's owner claims it anew.

        Raises:
            NotFound: if no shard of the partition runs.
        """
        ...

    def skip(self, shard: str, *, reason: str | None = None) -> ShardStatus:
        """Give a shard up. NotFound if there is none; BackfillRejected if it has ended."""
        ...

    def retry(self, shard: str) -> ShardStatus:
        """Queue a failed, skipped or cancelled shard again. NotFound; BackfillRejected if it has not ended so."""
        ...

    def coverage(self, dataset: str, *, symbols: tuple[str, ...] | None = None) -> list[CoverageStatus]:
        """Return what was fetched of a dataset, by symbol."""
        ...

    def watch(self, job: str | None = None) -> Iterator[ProgressEvent]:
        """Yield changes as they happen, for ever; close the iterator to stop."""
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...
