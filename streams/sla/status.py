"""How promises stand: what agents wrote last, as rows for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streams.sla.breach import Breach, Unit
from streams.sla.objectives import Objectives
from streams.sla.partition import PartitionWindows
from streams.sla.verdict import Links, moment

__all__ = ["Standing", "standings"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one objective of one series stands.

    Attributes:
        consumer: None if it is about the dataset itself.
        observed: what there is in the window that has not ended; of a budget the greatest rate of the shorter windows;
            None if nothing was observed.
        limit: what is promised, in the same unit.
        count: observations in that window.
        budget_left: share of an error budget that is left, negative if it is overdrawn; None of other kinds.
        breach: the one that is open; None if none is.
        as_of: the watermark at which agents wrote it; None before the first.
    """

    objective: str
    kind: str
    dataset: str
    consumer: str | None
    phase: str
    promise: str
    observed: float | None
    limit: float
    unit: Unit
    count: int
    budget_left: float | None
    breach: Breach | None
    as_of: datetime | None

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        breach = self.breach
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "breach": None
            if breach is None
            else {"id": breach.id, "severity": breach.severity, "opened_at": breach.opened_at.isoformat(),
                  "observed": breach.observed, "subject": breach.subject},
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
        }  # fmt: skip


def standings(objectives: Objectives, states: Iterable[Iterable[Mapping[str, Any]]]) -> list[Standing]:
    """Return how everything stands by the states of each partition, what is broken first."""
    found = [row for kept in states for row in _of_partition(objectives, kept)]
    return sorted(found, key=lambda r: (r.breach is None, r.dataset, r.objective, r.consumer or "", r.phase))


def _of_partition(objectives: Objectives, kept: Iterable[Mapping[str, Any]]) -> Iterable[Standing]:
    windows = PartitionWindows(objectives, Links(""), 0, (), kept)
    as_of = None if windows.watermark is None else moment(windows.watermark)
    for series in windows.series():
        watch, now = series.watch, series.peek(windows.watermark or 0)
        observed = max((burn.short_rate for burn in now.burn), default=now.observed) if now.count else now.observed
        yield Standing(
            watch.name, watch.kind, watch.series.dataset, watch.consumer, watch.series.phase, watch.promise, observed,
            now.promised if now.promised is not None else watch.limit or 0.0, watch.unit, now.count, series.budget_left,
            series.breach, as_of,
        )  # fmt: skip
    for jobs in windows.job_series():
        watch = jobs.watch
        breaches: list[Breach | None] = [*jobs.open.values()] or [None]
        for breach in breaches:
            yield Standing(
                watch.name, watch.kind, watch.series.dataset, None, watch.series.phase, watch.promise,
                None if breach is None else breach.observed, watch.min_coverage, watch.unit, 0, None, breach, as_of,
            )  # fmt: skip
