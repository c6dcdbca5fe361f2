"""What the service and its client say to each other beyond the models of the protocol: pages and problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from coordinator.protocol import CoverageStatus, JobStatus, LeaseStatus

__all__ = [
    "HEARTBEAT_S",
    "MAX_PAGE",
    "PROBLEM_JSON",
    "CoveragePage",
    "FieldProblem",
    "JobPage",
    "Kind",
    "LeasePage",
    "Problem",
    "coverage_key",
    "job_key",
    "lease_key",
    "page_of",
]

PROBLEM_JSON = "application/problem+json"
MAX_PAGE = 1_000
HEARTBEAT_S = 5.0  # longest silence of an event stream; a reader that hears nothing for several of them connects anew

T = TypeVar("T")


class Kind(Enum):
    """The kinds of problems: the last part of their `type`, their HTTP status and their title."""

    MALFORMED = ("malformed", 400, "The body cannot be read")
    UNAUTHORISED = ("unauthorised", 401, "A token is needed")
    FORBIDDEN = ("forbidden", 403, "Not from a web page")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    NO_SUCH_ROUTE = ("no-such-route", 404, "There is no such path")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "The path has no such method")
    TOO_LARGE = ("too-large", 413, "The body is too large")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported-media-type", 415, "The body is not JSON")
    INVALID = ("invalid", 422, "The request is not valid")
    REJECTED = ("rejected", 422, "The request makes no sense")
    REFUSED = ("refused", 400, "The request was refused")
    INTERNAL = ("internal", 500, "The service failed")
    UNAVAILABLE = ("unavailable", 503, "The coordinator cannot know the answer now")

    def __init__(self, label: str, status: int, title: str) -> None:
        self.label = label
        self.status = status
        self.title = title

    @property
    def uri(self) -> str:
        """Return the `type` of such a problem."""
        return f"urn:seamless:problem:{self.label}"


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="its name, with dots where it is inside another")
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="which kind of problem it is, as a URI to compare with")
    title: str = Field(description="the kind in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong this time, and what to do about it")
    instance: str = Field(description="the path that was asked for")
    field: str | None = Field(None, description="the first field of the request that is wrong")
    errors: tuple[FieldProblem, ...] | None = Field(None, description="every field that is wrong, up to 20")


class JobPage(BaseModel):
    """A page of jobs, newest first; `next` is given back as `after` to get the one after."""

    model_config = ConfigDict(frozen=True)

    items: tuple[JobStatus, ...]
    next: str | None = None


class LeasePage(BaseModel):
    """A page of leases, those of the urgent queue first, then by partition."""

    model_config = ConfigDict(frozen=True)

    items: tuple[LeaseStatus, ...]
    next: str | None = None


class CoveragePage(BaseModel):
    """A page of what was fetched, in the order of the symbols."""

    model_config = ConfigDict(frozen=True)

    items: tuple[CoverageStatus, ...]
    next: str | None = None


def page_of(
    items: Sequence[T], key: Callable[[T], str], limit: int, after: str | None
) -> tuple[tuple[T, ...], str | None]:
    """Return at most `limit` items that come after a key, in the order of their keys, and the key to go on from.

    The place is told by the key itself, so a page is right also when the item at its border is gone by now.
    """
    keyed = sorted(((key(item), item) for item in items), key=lambda pair: pair[0])
    left = [pair for pair in keyed if after is None or pair[0] > after]
    taken = left[:limit]
    return tuple(item for _, item in taken), taken[-1][0] if len(left) > limit else None


_LATEST_MS = 10**15  # far beyond any time in milliseconds, so that what is newest sorts first


def job_key(job: JobStatus) -> str:
    """Return the place of a job among others: newest first."""
    return f"{_LATEST_MS - int(job.created_at.timestamp() * 1_000):015d}:{job.id}"


def lease_key(lease: LeaseStatus) -> str:
    """Return the place of a lease among others: the urgent queue first, then by partition."""
    return f"{int(not lease.queue.endswith('.urgent'))}:{lease.partition:05d}:{lease.shard}"


def coverage_key(covered: CoverageStatus) -> str:
    """Return the place of a symbol's coverage among others."""
    return covered.symbol
