"""What is measured when somebody asks: whether the view answers, and the gauges of all jobs together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from anyio import CapacityLimiter, to_thread

from coordinator.protocol import BackfillCoordinator, JobStatus
from streams.errors import SeamlessError
from streams.metrics import Metrics
from streams.settings import Settings

__all__ = ["Probes", "completion"]

PATIENCE_S = 2.0
_IN_PROGRESS = frozenset({"pending", "running", "paused", "cancelling"})


class Probes:
    """Looks at a coordinator that may be stuck, without being stuck with it."""

    def __init__(
        self, coordinator: BackfillCoordinator, settings: Settings, metrics: Metrics, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._coordinator, self._settings, self._metrics = coordinator, settings, metrics
        self._patience_s = patience_s
        self._threads = CapacityLimiter(2)
        self._under_way: dict[Callable[[], None], asyncio.Task[str | None]] = {}

    async def behind(self) -> str | None:
        """Return why the view cannot be answered from, None if it can."""
        return await self._try(self._look)

    async def measure(self) -> None:
        """Set the gauges, or leave them as they are if the view does not answer."""
        await self._try(self._gauges)

    async def _try(self, what: Callable[[], None]) -> str | None:
        # Whoever asks while a look is stuck waits for that one, so that stuck looks do not pile up.
        task = self._under_way.get(what)
        if task is None or task.done():
            task = self._under_way[what] = asyncio.create_task(self._call(what))
        done, _ = await asyncio.wait({task}, timeout=self._patience_s)
        return task.result() if done else f"view: no answer within {self._patience_s:g} s"

    async def _call(self, what: Callable[[], None]) -> str | None:
        try:
            await to_thread.run_sync(what, abandon_on_cancel=True, limiter=self._threads)
        except SeamlessError as error:
            return str(error)
        return None

    def _look(self) -> None:
        self._coordinator.leases(stalled=True)

    def _gauges(self) -> None:
        jobs = [job for job in self._coordinator.jobs() if job.state in _IN_PROGRESS]
        self._metrics.backfill_jobs_in_progress.set(len(jobs))
        self._metrics.backfill_stalled_leases.set(len(self._coordinator.leases(stalled=True)))
        ratios = completion(jobs)
        for name, dataset in self._settings.datasets.items():
            labels = {"node_id": name, "interval": dataset.interval or "tick"}
            self._metrics.backfill_completion_ratio.set(ratios.get(name, 1.0), **labels)


def completion(jobs: Iterable[JobStatus]) -> dict[str, float]:
    """Return by dataset the share of its jobs' planned rows that is done, 0 to 1."""
    planned: defaultdict[str, float] = defaultdict(float)
    done: defaultdict[str, float] = defaultdict(float)
    for job in jobs:
        weight = max(job.estimated_rows, 1)
        planned[job.dataset] += weight
        done[job.dataset] += weight * job.ratio
    return {dataset: done[dataset] / rows for dataset, rows in planned.items()}
