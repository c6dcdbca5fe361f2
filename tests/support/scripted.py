"""A coordinator that answers as a test says: for what the service and its client do with answers, errors and waits."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from coordinator.protocol import (
    BackfillRequest,
    CoverageStatus,
    JobStatus,
    LeaseStatus,
    Page,
    Planned,
    ProgressEvent,
    ShardStatus,
)
from coordinator.service.examples import ANSWERS

__all__ = ["JOB", "LEASE", "REQUEST", "SHARD", "Scripted", "change"]

JOB = JobStatus.model_validate(ANSWERS["show_backfill"])
SHARD = ShardStatus.model_validate(ANSWERS["show_shard"])
LEASE = LeaseStatus.model_validate(ANSWERS["release_lease"])
COVERED = CoverageStatus.model_validate(ANSWERS["show_coverage"]["items"][0])
REQUEST: dict[str, Any] = {
    "dataset": "ohlcv.us.1d",
    "symbols": ["AAPL"],
    "start": "2022-01-01T00:00:00Z",
    "end": "2024-01-01T00:00:00Z",
}


class Scripted:
    """Answers with the examples, unless a method's name is in `does`: then that is called with the arguments.

    `asked` lists the calls: the method's name and its arguments.
    """

    def __init__(self) -> None:
        self.does: dict[str, Callable[..., Any]] = {}
        self.asked: list[tuple[Any, ...]] = []
        self._watches: list[Changes] = []

    def reset(self) -> None:
        """Forget what a test said and asked."""
        self.does.clear()
        self.asked.clear()

    def raises(self, method: str, error: Exception) -> None:
        """Make a method fail."""

        def fail(*_: Any, **__: Any) -> Any:
            raise error

        self.does[method] = fail

    def tell(self, event: ProgressEvent | Exception) -> None:
        """Tell a change to all who watch it, or fail their watching."""
        for watch in list(self._watches):
            if isinstance(event, Exception) or watch.job in (None, event.job):
                watch.told.put(event)

    @property
    def watchers(self) -> int:
        return len(self._watches)

    def _do(self, method: str, usual: Any, *arguments: Any, **named: Any) -> Any:
        self.asked.append((method, *arguments, named))
        return self.does[method](*arguments, **named) if method in self.does else usual

    def plan(self, request: BackfillRequest) -> Planned:
        return self._do("plan", Planned(job=JOB, created=True, queued=4), request)

    def request(self, request: BackfillRequest) -> Planned:
        return self._do("request", Planned(job=JOB, created=True, queued=4), request)

    def jobs(self, **filters: Any) -> list[JobStatus]:
        return self._do("jobs", [JOB], **filters)

    def job(self, job: str) -> JobStatus:
        return self._do("job", JOB, job)

    def cancel(self, job: str, *, reason: str | None = None) -> JobStatus:
        return self._do("cancel", JOB, job, reason=reason)

    def pause(self, job: str, *, reason: str | None = None) -> JobStatus:
        return self._do("pause", JOB, job, reason=reason)

    def resume(self, job: str) -> JobStatus:
        return self._do("resume", JOB, job)

    def shards(self, **filters: Any) -> Page:
        return self._do("shards", Page(items=(SHARD,)), **filters)

    def shard(self, shard: str) -> ShardStatus:
        return self._do("shard", SHARD, shard)

    def leases(self, *, stalled: bool | None = None) -> list[LeaseStatus]:
        return self._do("leases", [LEASE], stalled=stalled)

    def release(self, partition: int, *, urgent: bool = False, reason: str | None = None) -> LeaseStatus:
        return self._do("release", LEASE, partition, urgent=urgent, reason=reason)

    def skip(self, shard: str, *, reason: str | None = None) -> ShardStatus:
        return self._do("skip", SHARD, shard, reason=reason)

    def retry(self, shard: str) -> ShardStatus:
        return self._do("retry", SHARD, shard)

    def coverage(self, dataset: str, *, symbols: tuple[str, ...] | None = None) -> list[CoverageStatus]:
        return self._do("coverage", [COVERED], dataset, symbols=symbols)

    def watch(self, job: str | None = None) -> Iterator[ProgressEvent]:
        watch = self._do("watch", Changes(job, self._watches), job)
        self._watches.append(watch)
        return watch

    def close(self) -> None:
        for watch in list(self._watches):
            watch.close()


class Changes(Iterator[ProgressEvent]):
    """Changes that a test tells; any thread may close it."""

    def __init__(self, job: str | None, among: list[Changes]) -> None:
        self.job, self._among = job, among
        self.told: queue.SimpleQueue[ProgressEvent | Exception | None] = queue.SimpleQueue()

    def __next__(self) -> ProgressEvent:
        told = self.told.get()
        if told is None:
            raise StopIteration
        if isinstance(told, Exception):
            raise told
        return told

    def close(self) -> None:
        self.told.put(None)
        if self in self._among:
            self._among.remove(self)


def change(job: str, state: str = "done") -> ProgressEvent:
    """Return a change of a job."""
    return ProgressEvent(
        kind="job", id=job, job=job, state=state, rows=7, at=datetime.fromisoformat("2026-03-02T09:30Z")
    )
