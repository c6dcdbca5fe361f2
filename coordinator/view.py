"""The view: all that the topics say about jobs and shards, folded record by record.

Pure. The same records in any order, any of them any number of times, give the same view. Not synchronised: whoever
shares one between threads brings a lock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import NamedTuple

from coordinator.lease_event import LeaseEvent
from coordinator.orders import Order, OrderKind, later
from coordinator.protocol import JobState
from coordinator.ranges import Range, normalised
from coordinator.shards import Job, Progress, Shard, ShardState, newer
from coordinator.tally import Tally, state_of

__all__ = ["Covered", "Lease", "View"]

_ON_THEIR_WAY = (ShardState.PENDING, ShardState.RUNNING)


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard that runs, and the milliseconds since its holder last said so."""

    progress: Progress
    silence_ms: int


class Covered(NamedTuple):
    """What is there of a symbol, and what is being fetched; merged ranges in order."""

    complete: tuple[Range, ...]
    running: tuple[Range, ...]


class View:
    """Jobs, shards and orders, with the indexes that questions about a hundred thousand of them need."""

    def __init__(self) -> None:
        self._jobs: dict[str, Tally] = {}
        self._shards: dict[str, Progress] = {}
        self._orders: dict[str, Order] = {}
        self._listed: defaultdict[str, list[str]] = defaultdict(list)  # which jobs count a shard
        self._states: dict[ShardState, set[str]] = {state: set() for state in ShardState}
        self._datasets: defaultdict[str, set[str]] = defaultdict(set)
        self._resumed: set[str] = set()  # jobs whose newest order is to go on

    def apply(self, event: Shard | Job | Progress | Order | LeaseEvent) -> bool:
        """Take a record in; return whether it says anything that was not known.

        What happened to a lease is news each time, and changes nothing here: what it led to is told by the progress.
        """
        match event:
            case Progress():
                return self._progress(event)
            case Job():
                return self._job(event)
            case Order():
                return self._order(event)
            case LeaseEvent():
                return True
            case Shard():
                return False

    def __len__(self) -> int:
        """Return how many shards there are."""
        return len(self._shards)

    def jobs(self, *, dataset: str | None = None, state: JobState | None = None) -> list[Job]:
        """Return the jobs there are, newest first."""
        found = [
            tally.job
            for tally in self._jobs.values()
            if dataset in (None, tally.job.dataset) and (state is None or self.state(tally.job.id) == state)
        ]
        return sorted(found, key=lambda job: (-job.created_at, job.id))

    def job(self, job: str) -> Job | None:
        """Return one job."""
        tally = self._jobs.get(job)
        return None if tally is None else tally.job

    def tally(self, job: str) -> Tally:
        """Return what the shards of a job add up to; KeyError if there is no such job."""
        return self._jobs[job]

    def state(self, job: str) -> JobState:
        """Return the state of a job; KeyError if there is no such job."""
        return state_of(self._jobs[job], self._orders.get(job))

    def order(self, target: str) -> Order | None:
        """Return the newest order about a job or a shard."""
        return self._orders.get(target)

    def shard(self, shard: str) -> Progress | None:
        """Return one shard."""
        return self._shards.get(shard)

    def jobs_of(self, shard: str) -> tuple[str, ...]:
        """Return the ids of the jobs that count a shard."""
        return tuple(self._listed.get(shard, ()))

    def shards_of(self, job: str) -> Iterator[Progress]:
        """Yield the shards of a job that are known; KeyError if there is no such job."""
        return self._known(self._jobs[job].job.shards)

    def shards(
        self, *, job: str | None = None, state: ShardState | None = None, limit: int = 100, after: str | None = None
    ) -> list[Progress]:
        """Return the first `limit` shards, in the order of their ids, that come after `after`."""
        if job is not None:
            known = self._jobs.get(job)
            ids: Iterable[str] = () if known is None else known.job.shards
            if state is not None:
                ids = self._states[state].intersection(ids)
        else:
            ids = self._shards if state is None else self._states[state]
        return list(self._known(nsmallest(limit, (i for i in ids if after is None or i > after))))

    def in_state(self, state: ShardState) -> int:
        """Return how many shards are in a state."""
        return len(self._states[state])

    def dataset(self, dataset: str) -> Iterator[Progress]:
        """Yield the shards of a dataset, in no order."""
        return self._known(self._datasets.get(dataset, ()))

    def datasets(self) -> list[str]:
        """Return the datasets that there are jobs or shards of."""
        return sorted(self._datasets.keys() | {tally.job.dataset for tally in self._jobs.values()})

    def leases(self, now_ms: int) -> list[Lease]:
        """Return the shards that run, urgent ones first, then by partition."""
        found = [Lease(p, max(0, now_ms - p.at)) for p in self._known(self._states[ShardState.RUNNING])]
        return sorted(found, key=lambda x: (not x.progress.shard.urgent, x.progress.shard.partition, x.progress.at))

    def coverage(self, dataset: str, symbols: Iterable[str] | None = None) -> dict[str, Covered]:
        """Return what was fetched of a dataset and what is being fetched, by symbol; without `symbols`, of all."""
        wanted = None if symbols is None else set(symbols)
        complete: defaultdict[str, list[Range]] = defaultdict(list)
        running: defaultdict[str, list[Range]] = defaultdict(list)
        for progress in self.dataset(dataset):
            shard = progress.shard
            if progress.state is ShardState.DONE:
                into = complete
            elif progress.state in _ON_THEIR_WAY:
                into = running
            else:
                continue
            piece = Range(shard.start, shard.end)
            for symbol in shard.symbols if wanted is None else wanted.intersection(shard.symbols):
                into[symbol].append(piece)
        names = complete.keys() | running.keys() | (wanted or set())
        return {n: Covered(normalised(complete.get(n, ())), normalised(running.get(n, ()))) for n in sorted(names)}

    def stranded(self) -> list[Progress]:
        """Return shards that ended under an order which was taken back before the worker heard of that."""
        return [
            progress
            for job in self._resumed
            for progress in self._taken_back(job)
            if progress.shard.job == job and progress.shard.job_epoch < self._orders[job].epoch
        ]

    def _taken_back(self, job: str) -> Iterator[Progress]:
        tally = self._jobs.get(job)
        if tally is None or not any(tally.counts.get(s) for s in (ShardState.PARKED, ShardState.CANCELLED)):
            return iter(())
        return (p for p in self.shards_of(job) if p.state in (ShardState.PARKED, ShardState.CANCELLED))

    def _known(self, ids: Iterable[str]) -> Iterator[Progress]:
        return (self._shards[i] for i in ids if i in self._shards)

    def _progress(self, event: Progress) -> bool:
        name = event.shard.id
        old = self._shards.get(name)
        if old is not None and newer(old, event) is old:
            return False
        self._shards[name] = event
        if old is None:
            self._datasets[event.shard.dataset].add(name)
            self._states[event.state].add(name)
        elif old.state is not event.state:
            self._states[old.state].discard(name)
            self._states[event.state].add(name)
        for job in self._listed.get(name, ()):
            tally = self._jobs[job]
            if old is not None:
                tally.add(old, -1)
            tally.add(event, 1)
        return True

    def _job(self, event: Job) -> bool:
        old = self.job(event.id)
        if old is not None and (old.epoch, old.created_at) >= (event.epoch, event.created_at):
            return False
        if old is not None and old.shards != event.shards:
            for shard in old.shards:
                self._listed[shard].remove(event.id)
        if old is None or old.shards != event.shards:
            for shard in event.shards:
                self._listed[shard].append(event.id)
        self._jobs[event.id] = Tally.of(event, self._known(event.shards))
        return True

    def _order(self, event: Order) -> bool:
        old = self._orders.get(event.target)
        if old is not None and later(old, event) is old:
            return False
        self._orders[event.target] = event
        if event.order is OrderKind.RESUME:
            self._resumed.add(event.target)
        else:
            self._resumed.discard(event.target)
        return True
