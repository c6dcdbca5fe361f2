"""Watching a view: changes, handed to whoever waits for them, on whichever thread that is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import count

from coordinator.lease_event import LeaseEvent
from coordinator.orders import Order
from coordinator.protocol import JobState, ProgressEvent
from coordinator.records import Event
from coordinator.shards import Job, Progress
from coordinator.status import moment
from coordinator.view import View

__all__ = ["Watch"]

_MOST = 200_000


class Watch(Iterator[ProgressEvent]):
    """Changes as they happen, from now on; an iterator that any thread may close.

    A reader that is slower than the changes gets the newest of each job and shard, so nothing piles up.

    Args:
        job: tells of this job and its shards only; None: of all.
        ended: called once, when it is closed.
    """

    def __init__(self, view: View, job: str | None, ended: Callable[[Watch], None]) -> None:
        self._job, self._ended = job, ended
        self._told: dict[str, JobState] = {j.id: view.state(j.id) for j in view.jobs() if job in (None, j.id)}
        self._waiting: OrderedDict[tuple[str, str, int], ProgressEvent] = OrderedDict()
        self._numbers = count(1)
        self._there = threading.Condition()
        self._closed = False
        self._failure: Exception | None = None

    def offer(self, view: View, event: Event) -> None:
        """Take in a change that the view knows by now; called under the view's lock."""
        changes = list(self._changes(view, event))
        if not changes:
            return
        with self._there:
            for change in changes:
                key = (change.kind, change.id, next(self._numbers) if change.kind == "lease" else 0)
                self._waiting.pop(key, None)
                self._waiting[key] = change
            while len(self._waiting) > _MOST:
                self._waiting.popitem(last=False)
            self._there.notify_all()

    def get(self, timeout: float | None = None) -> ProgressEvent | None:
        """Return the next change; None after `timeout` seconds without one, or once it is closed.

        Raises:
            CoordinatorUnavailable: if there will be no more, as the topics cannot be read.
        """
        with self._there:
            self._there.wait_for(lambda: self._waiting or self._closed or self._failure, timeout)
            if self._waiting and not self._closed:
                return self._waiting.popitem(last=False)[1]
            if self._failure is not None and not self._closed:
                raise self._failure
            return None

    def __next__(self) -> ProgressEvent:
        change = self.get()
        if change is None:
            raise StopIteration
        return change

    def fail(self, error: Exception) -> None:
        """Raise this for the reader, after what it has not read yet."""
        with self._there:
            self._failure = error
            self._there.notify_all()

    def close(self) -> None:
        """Stop; a reader that waits is told that there is no more."""
        with self._there:
            if self._closed:
                return
            self._closed = True
            self._there.notify_all()
        self._ended(self)

    def _changes(self, view: View, event: Event) -> Iterator[ProgressEvent]:
        match event:
            case Progress():
                shard, jobs = event.shard, view.jobs_of(event.shard.id)
                if self._job is None or self._job in (shard.job, *jobs):
                    yield ProgressEvent(
                        kind="shard",
                        id=shard.id,
                        job=shard.job,
                        state=event.state.value,
                        rows=event.rows,
                        partition=shard.partition,
                        host=event.host,
                        at=_ms(event.at),
                    )
                yield from self._jobs(view, jobs, event.at)
            case Job():
                yield from self._jobs(view, (event.id,), event.created_at)
            case Order():
                yield from self._jobs(view, (event.target,), event.at)
            case LeaseEvent():
                if self._job is None or self._job in (event.job, *view.jobs_of(event.shard)):
                    yield ProgressEvent(
                        kind="lease",
                        id=event.shard,
                        job=event.job,
                        state=event.event.value,
                        rows=event.rows,
                        partition=event.partition,
                        host=event.host,
                        at=_ms(event.at),
                    )

    def _jobs(self, view: View, jobs: Iterable[str], at: int) -> Iterator[ProgressEvent]:
        """Tell of those jobs whose state is another than was told last."""
        for job in jobs:
            if self._job not in (None, job) or view.job(job) is None:
                continue
            state = view.state(job)
            if self._told.get(job) != state:
                self._told[job] = state
                yield ProgressEvent(kind="job", id=job, job=job, state=state, rows=view.tally(job).rows, at=_ms(at))


def _ms(at: int) -> datetime:
    return moment(at * 1_000_000)
