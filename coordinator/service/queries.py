"""What may be asked for in the query of a path; unknown names are refused, as a misspelt `dry_run` must do nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from coordinator.protocol import JobState
from coordinator.shards import ShardState
from coordinator.wire import MAX_PAGE

__all__ = [
    "CoverageQuery",
    "EventsQuery",
    "JobsQuery",
    "LeasesQuery",
    "NoQuery",
    "Order",
    "ReleaseQuery",
    "RequestQuery",
    "ShardsQuery",
]

LONGEST_ID = 200
LONGEST_KEY = 500


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NoQuery(_Query):
    """Nothing may be asked for."""


class _Paged(_Query):
    limit: int = Field(100, ge=1, le=MAX_PAGE, description="most items of the page")
    after: str | None = Field(None, max_length=LONGEST_KEY, description="`next` of the page before")


class RequestQuery(_Query):
    """How a request is meant."""

    dry_run: bool = Field(False, description="say what would be done, and do nothing")


class JobsQuery(_Paged):
    """Which jobs."""

    dataset: str | None = Field(None, max_length=LONGEST_ID, description="only jobs of this dataset")
    state: JobState | None = Field(None, description="only jobs in this state")


class ShardsQuery(_Paged):
    """Which shards."""

    job: str | None = Field(None, max_length=LONGEST_ID, description="only shards that this job counts")
    state: ShardState | None = Field(None, description="only shards in this state")


class LeasesQuery(_Paged):
    """Which leases."""

    stalled: bool | None = Field(None, description="only leases that are stalled, or only ones that are not")


class ReleaseQuery(_Query):
    """Which queue's partition."""

    urgent: bool = Field(False, description="the partition is one of the urgent queue")


class CoverageQuery(_Paged):
    """Which symbols of which dataset."""

    dataset: str = Field(min_length=1, max_length=LONGEST_ID, description="the dataset")
    symbol: tuple[str, ...] | None = Field(
        None, max_length=MAX_PAGE, description="only these symbols; repeat it for more"
    )


class EventsQuery(_Query):
    """Which changes."""

    job: str | None = Field(None, max_length=LONGEST_ID, description="only changes of this job")


class Order(BaseModel):
    """Why something is ordered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str | None = Field(None, max_length=500, description="for whoever looks later")
