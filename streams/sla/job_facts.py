"""What the SLA agent has to know of backfill jobs, from the coordinator's own view of `backfill.progress`."""

from __future__ import annotations

from contextlib import closing

from coordinator.feed import Feed
from coordinator.records import ControlPlane
from coordinator.shards import ShardState
from coordinator.view import View
from streams.clock import Deadline
from streams.errors import SeamlessError
from streams.log import get_logger
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.jobs import JobFact, JobSeries

__all__ = ["JobFacts"]

MS = 1_000_000
_PATIENCE_S = 10.0

log = get_logger("sla")


class JobFacts:
    """Follows the jobs of a world; opened at the first question, and anew after a failure. For one thread at a time."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._registry = settings, registry
        self._feed: Feed | None = None
        self._complained = False

    def of(self, series: JobSeries, at: int) -> tuple[list[JobFact], set[str]] | None:
        """Return what a series asks for, at a watermark, and the ids of all jobs of its dataset; None if nobody knows.

        Whatever was committed before the call is in the answer.
        """
        try:
            feed = self._opened()
            feed.catch_up(Deadline(_PATIENCE_S), stable=True)
        except SeamlessError as error:
            if not self._complained:
                log.warning("sla_jobs_unknown", error=str(error))
            self._complained = True
            return None
        self._complained = False
        with feed.reading() as view:
            jobs = view.jobs(dataset=series.watch.series.dataset)
            facts = [
                _fact(view, job.id)
                for job in jobs
                if series.asks(f"{job.id}/{job.epoch}", job.created_at * MS, job.urgent, at)
            ]
            return facts, {f"{job.id}/{job.epoch}" for job in jobs}

    def close(self) -> None:
        """Follow no more."""
        feed, self._feed = self._feed, None
        if feed is not None:
            with closing(feed):
                pass

    def _opened(self) -> Feed:
        if self._feed is not None and self._feed.failed:
            self.close()
        if self._feed is None:
            self._feed = Feed(self._settings, ControlPlane.prepare(self._settings, self._registry))
        return self._feed


def _fact(view: View, job: str) -> JobFact:
    tally, state = view.tally(job), view.state(job)
    done = tuple(shard.at * MS for shard in view.shards_of(job) if shard.state is ShardState.DONE)
    return JobFact(
        id=f"{job}/{tally.job.epoch}",
        created=tally.job.created_at * MS,
        urgent=tally.job.urgent,
        ended=state in {"done", "failed", "incomplete"},
        cancelled=state in {"cancelling", "cancelled"},
        shards=len(tally.job.shards),
        done=done,
    )
