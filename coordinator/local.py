"""The coordinator in this process: a view of the topics and the ledger, behind the interface that callers know."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from coordinator import decisions
from coordinator.connection import Connection
from coordinator.decisions import Author
from coordinator.feed import Feed
from coordinator.protocol import (
    BackfillRejected,
    BackfillRequest,
    CoordinatorUnavailable,
    CoverageStatus,
    JobState,
    JobStatus,
    LeaseStatus,
    NotFound,
    Page,
    Planned,
    ShardStatus,
)
from coordinator.records import Event
from coordinator.requests import Asked, Outcome, cut, known, narrowed, outcome
from coordinator.shards import ShardState
from coordinator.sizing import estimator
from coordinator.status import coverage_status, job_status, lease_status, planned_status, shard_status
from coordinator.view import Lease, View
from coordinator.watching import Watch
from streams.clock import Deadline, now_ms
from streams.errors import BrokerError, RegistryError, SettingsError
from streams.log import get_logger
from streams.normalizer_job import registered_contract
from streams.registry import Registry, RegistryUnavailable
from streams.settings import DatasetSettings, Settings

__all__ = ["LocalBackfillCoordinator"]

log = get_logger("coordinator")

Answer = TypeVar("Answer")
Decide = Callable[[View, Author], list[Event]]

MOST_SHARDS_OF_A_PAGE = 1_000


class LocalBackfillCoordinator:
    """A BackfillCoordinator without a service: any number may work side by side. Any thread may use it.

    It connects at the first call, and again at the next one if that failed.

    Args:
        registry: shared with the caller, who closes it; made from the settings if not given.
        deadline_s: longest that a call waits for Kafka before it raises CoordinatorUnavailable.
        leases: whether `watch` tells of leases too; costs reading their log.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry | None = None,
        *,
        deadline_s: float = 30.0,
        leases: bool = True,
    ) -> None:
        self._settings, self._deadline_s = settings, deadline_s
        self._connection = Connection(settings, registry, deadline_s=deadline_s, leases=leases)

    def plan(self, request: BackfillRequest) -> Planned:
        """See `BackfillCoordinator.plan`."""
        with self._answering() as deadline:
            asked = self._asked(request)
            feed = self._connection.feed()
            feed.current(deadline)
            found = _outcome(feed, asked)
            return Planned(
                job=planned_status(found.job, found.shards),
                created=found.created,
                queued=found.queued,
                reason=found.reason,
                shards=tuple(shard_status(p) for p in found.to_queue[:MOST_SHARDS_OF_A_PAGE]),
            )

    def request(self, request: BackfillRequest) -> Planned:
        """See `BackfillCoordinator.request`."""
        with self._answering():
            asked = self._asked(request)
            written: list[Outcome] = []

            def decide(feed: Feed) -> tuple[Outcome, tuple[Event, ...]]:
                found = _outcome(feed, asked)
                if not found.events and written and written[-1].job == found.job:
                    return written[-1], ()  # the attempt before went through, though the broker did not say so
                written.append(found)
                return found, found.events

            # Two that ask for the same in one millisecond write equal jobs: the one that was refused must not take the
            # other's for its own.
            found = self._connection.ledger().write(decide, refused=written.clear)
            if found.events:
                log.info(
                    "seamless.backfill.requested",
                    job=found.job.id,
                    epoch=found.job.epoch,
                    dataset=found.job.dataset,
                    shards=len(found.job.shards),
                    queued=found.queued,
                    by=found.job.requested_by,
                )
            with self._connection.feed().reading() as view:
                status = job_status(view, found.job.id)
            return Planned(job=status, created=found.created, queued=found.queued, reason=found.reason)

    def jobs(self, *, dataset: str | None = None, state: JobState | None = None) -> list[JobStatus]:
        """See `BackfillCoordinator.jobs`."""
        with self._reading() as view:
            return [job_status(view, job.id) for job in view.jobs(dataset=dataset, state=state)]

    def job(self, job: str) -> JobStatus:
        """See `BackfillCoordinator.job`."""
        return self._looked_up(lambda view: job_status(view, job) if view.job(job) else None, "job", job)

    def cancel(self, job: str, *, reason: str | None = None) -> JobStatus:
        """See `BackfillCoordinator.cancel`."""
        return self._order_job("cancelled", job, lambda v, a: decisions.cancel(v, job, a), reason)

    def pause(self, job: str, *, reason: str | None = None) -> JobStatus:
        """See `BackfillCoordinator.pause`; BackfillRejected if the job has ended."""
        return self._order_job("paused", job, lambda v, a: decisions.pause(v, job, a), reason)

    def resume(self, job: str) -> JobStatus:
        """See `BackfillCoordinator.resume`; BackfillRejected if the job was cancelled."""
        return self._order_job("resumed", job, lambda v, a: decisions.resume(v, job, a), None)

    def shards(
        self, *, job: str | None = None, state: ShardState | None = None, limit: int = 100, after: str | None = None
    ) -> Page:
        """See `BackfillCoordinator.shards`."""
        if not 1 <= limit <= MOST_SHARDS_OF_A_PAGE:
            raise BackfillRejected(f"limit is {limit}: ask for 1 to {MOST_SHARDS_OF_A_PAGE:,} shards", field="limit")
        if job is not None:
            self.job(job)
        with self._reading() as view:
            found = view.shards(job=job, state=state, limit=limit + 1, after=after)
        page = tuple(shard_status(progress) for progress in found[:limit])
        return Page(items=page, next=page[-1].id if len(found) > limit else None)

    def shard(self, shard: str) -> ShardStatus:
        """See `BackfillCoordinator.shard`."""

        def find(view: View) -> ShardStatus | None:
            progress = view.shard(shard)
            return None if progress is None else shard_status(progress)

        return self._looked_up(find, "shard", shard)

    def leases(self, *, stalled: bool | None = None) -> list[LeaseStatus]:
        """See `BackfillCoordinator.leases`."""
        with self._reading() as view:
            found = view.leases(now_ms())
        plane, after_ms = self._connection.plane(), self._settings.coordinator.stalled_after_s * 1_000
        leases = [lease_status(x, plane.queue(urgent=x.progress.shard.urgent), after_ms) for x in found]
        return [x for x in leases if stalled in (None, x.stalled)]

    def release(self, partition: int, *, urgent: bool = False, reason: str | None = None) -> LeaseStatus:
        """See `BackfillCoordinator.release`."""
        with self._answering():
            author = self._author(reason)

            def decide(feed: Feed) -> tuple[Lease, list[Event]]:
                with feed.reading() as view:
                    return decisions.release(view, partition, urgent, author)

            lease = self._connection.ledger().write(decide)
            log.info("seamless.backfill.released", partition=partition, shard=lease.progress.shard.id, by=author.by)
            after_ms = self._settings.coordinator.stalled_after_s * 1_000
            return lease_status(lease, self._connection.plane().queue(urgent=urgent), after_ms)

    def skip(self, shard: str, *, reason: str | None = None) -> ShardStatus:
        """See `BackfillCoordinator.skip`."""
        self._order("skipped", shard, lambda v, a: decisions.skip(v, shard, a), reason)
        return self.shard(shard)

    def retry(self, shard: str) -> ShardStatus:
        """See `BackfillCoordinator.retry`."""
        self._order("retried", shard, lambda v, a: decisions.retry(v, shard, a), None)
        return self.shard(shard)

    def coverage(self, dataset: str, *, symbols: tuple[str, ...] | None = None) -> list[CoverageStatus]:
        """See `BackfillCoordinator.coverage`; BackfillRejected if the dataset is not configured."""
        self._wanted(dataset)
        with self._reading() as view:
            found = view.coverage(dataset, symbols)
        return [coverage_status(dataset, symbol, covered) for symbol, covered in found.items()]

    def watch(self, job: str | None = None) -> Watch:
        """See `BackfillCoordinator.watch`; NotFound if there is no such job. Any thread may close what is returned."""
        with self._answering() as deadline:
            feed = self._connection.feed()
            feed.current(deadline)
        if job is not None:
            self.job(job)
        return feed.watch(job)

    @contextmanager
    def reading(self) -> Iterator[View]:
        """Hold the view still, for whoever wants more than the interface gives; CoordinatorUnavailable."""
        with self._reading() as view:
            yield view

    def close(self) -> None:
        """See `BackfillCoordinator.close`."""
        self._connection.close()

    def _order_job(self, what: str, job: str, decide: Decide, reason: str | None) -> JobStatus:
        self._order(what, job, decide, reason)
        return self.job(job)

    def _order(self, what: str, target: str, decide: Decide, reason: str | None) -> None:
        with self._answering():
            author = self._author(reason)

            def write(feed: Feed) -> tuple[int, list[Event]]:
                with feed.reading() as view:
                    events = decide(view, author)
                return len(events), events

            if self._connection.ledger().write(write):
                log.info(f"seamless.backfill.{what}", target=target, by=author.by, reason=reason)

    def _asked(self, request: BackfillRequest) -> Asked:
        wanted = self._wanted(request.dataset)
        source = request.source or wanted.source
        if source is None:
            raise BackfillRejected(
                f"the dataset {request.dataset} has no source: name one in the request, or set "
                f'seamless.datasets."{request.dataset}".source',
                field="source",
            )
        registry = self._connection.registry()
        try:
            contract = registered_contract(registry, self._settings.world, request.dataset)
        except RegistryUnavailable:
            raise
        except RegistryError as error:
            raise BackfillRejected(str(error), field="dataset") from error
        return Asked(
            request=request,
            wanted=wanted,
            source=source,
            contract_version=contract.version,
            partitions=self._connection.plane().queue_partitions,
            author=self._author(None),
            estimate=estimator(self._settings, registry, request.dataset, source, contract),
        )

    def _wanted(self, dataset: str) -> DatasetSettings:
        try:
            return self._settings.dataset(dataset)
        except SettingsError as error:
            raise BackfillRejected(str(error), field="dataset") from None

    def _author(self, reason: str | None) -> Author:
        return Author(_who(), now_ms(), reason)

    def _looked_up(self, find: Callable[[View], Answer | None], what: str, name: str) -> Answer:
        with self._reading() as view:
            found = find(view)
        if found is None:
            # Before it is denied: another replica may have written it a moment ago.
            with self._answering() as deadline:
                feed = self._connection.feed()
                feed.catch_up(deadline)
                with feed.reading() as view:
                    found = find(view)
        if found is None:
            raise NotFound(f"there is no {what} {name}")
        return found

    @contextmanager
    def _reading(self) -> Iterator[View]:
        with self._answering() as deadline:
            feed = self._connection.feed()
            feed.current(deadline)
            with feed.reading() as view:
                yield view

    @contextmanager
    def _answering(self) -> Iterator[Deadline]:
        try:
            yield Deadline(self._deadline_s)
        except (BrokerError, RegistryError) as error:
            raise CoordinatorUnavailable(f"the state of backfills cannot be known: {error}") from error


def _outcome(feed: Feed, asked: Asked) -> Outcome:
    """Plan while others may use the view: it is held still only to look things up."""
    with feed.reading() as view:
        there = known(view, asked)
    there = narrowed(asked, there)
    planned = cut(asked, there)
    with feed.reading() as view:
        existing = {s.id: p for s in planned.shards if (p := view.shard(s.id)) is not None}
    return outcome(asked, there, planned, existing)


def _who() -> str:
    user = "somebody"
    with suppress(KeyError, OSError):  # a container may run under a user that nobody named
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
