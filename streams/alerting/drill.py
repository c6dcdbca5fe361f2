"""A drill: observations that break one promise by a chosen amount, to see the alert before it is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from streams.durations import spelled
from streams.errors import SettingsError
from streams.provider.observations import Observation, Outcome
from streams.settings import Settings
from streams.sla.objectives import DATASET_ITSELF, Objectives, Pair, SeriesKey, Watch
from streams.sla.sketch import ACCURACY
from streams.sla_policy import Objective

__all__ = ["DRILL_READER", "Drill", "planned"]

DRILL_READER = "drill"
"""The reader that observations are told of where the objective is for each reader by itself."""

_FEWEST = 100
_OTHERWISE = {
    "staleness": "stop the producer of a dataset in a test world: silence breaks it",
    "completeness": "ask for an urgent backfill from a source that is slow, in a test world",
    "conformance": "produce rows that break a rule, in a test world",
}


@dataclass(frozen=True, slots=True)
class Drill:
    """What is to be produced.

    Attributes:
        watch: the promise, as it is watched for one reader.
        factor: by how much it is broken: observed over promised.
        observed: what the agent will find: seconds of a quantile, or the rate at which a budget is used up.
        promised: the limit, in the same unit.
        count, bad: observations in all, and those of them that break the promise.
        elapsed: seconds that a bad one takes.
        shared: whether the reader is a real one, whose own observations are judged along with these.
    """

    watch: Watch
    factor: float
    observed: float
    promised: float
    count: int
    bad: int
    elapsed: float
    shared: bool

    def observations(self, world: str, at: datetime, fetch_id: str) -> Iterator[Observation]:
        """Yield them, all of one moment, so that no window divides them."""
        watch, unlimited = self.watch, self.watch.limit is None
        first = Observation(
            world=world,
            dataset=watch.series.dataset,
            consumer=watch.series.consumer,
            phase=cast("Objective", watch.series.phase),
            interval=watch.interval,
            lane="live",
            outcome="ok",
            elapsed_seconds=0.0,
            budget_seconds=watch.limit,
            at=at,
            fetch_id=fetch_id,
            synthetic=True,
        )
        for number in range(self.count):
            is_bad = number < self.bad
            outcome: Outcome = "violated" if is_bad else "ok"
            yield replace(first, outcome=outcome, elapsed_seconds=self.elapsed if is_bad or unlimited else 0.0)

    def described(self) -> str:
        """Return the drill in words."""
        watch = self.watch
        is_time = watch.kind == "quantile"
        observed, promised = (
            spelled(value) if is_time else f"{value:.3g} times the even pace"
            for value in (self.observed, self.promised)
        )
        return (
            f"{watch.name} promises {watch.promise}. {self.count} observations of {watch.series.phase} of "
            f"{watch.series.dataset} by the reader {watch.series.consumer}, {self.bad} of them bad, come to "
            f"{observed}, and the limit is {promised}."
        )

    def closes_at(self, at: datetime, grace_ms: int) -> datetime:
        """Return when the agent judges what was told at a moment: the end of the step that it falls into, and grace."""
        step = timedelta(microseconds=self.watch.step // 1_000)
        since = at - datetime(1970, 1, 1, tzinfo=at.tzinfo)
        return at - since % step + step + timedelta(milliseconds=grace_ms)


def planned(settings: Settings, objective: str, dataset: str | None, factor: float, count: int | None) -> Drill:
    """Return how to break an objective by a factor, with so many observations (default: as many as it needs).

    Raises:
        SettingsError: if there is no such objective, or it cannot be broken so.
    """
    objectives = Objectives(settings)
    one = objectives.named.get(objective)
    if one is None:
        known = ", ".join(sorted(objectives.named)) or "none"
        raise SettingsError(f"There is no objective {objective!r} ({known}). Correct the name, or enable it.")
    if one.kind in _OTHERWISE:
        raise SettingsError(
            f"{objective} is of kind {one.kind}, which observations of fetches do not break: {_OTHERWISE[one.kind]}."
        )
    dataset = dataset or one.dataset or (next(iter(settings.datasets)) if len(settings.datasets) == 1 else None)
    if dataset is None:
        raise SettingsError(f"{objective} is for each dataset: name one with --dataset.")
    settings.dataset(dataset)
    reader = one.consumer or DRILL_READER
    series = SeriesKey(dataset, reader, one.phase)
    watch = next((each for each in objectives.of(series) if each.name == objective), None)
    if watch is None or reader == DATASET_ITSELF:
        raise SettingsError(
            f"{objective} promises nothing for {dataset}: it is for another dataset, or the policy of {reader} has no "
            f"limit for {one.phase}. Give the objective a limit of its own."
        )
    count = count or max(_FEWEST, one.min_count)
    if count < one.min_count:
        raise SettingsError(f"{objective} says nothing of fewer than {one.min_count} observations: raise --count.")
    if one.kind == "quantile":
        return _quantile(watch, factor, count, shared=one.consumer is not None)
    return _budget(watch, factor, count, shared=one.consumer is not None)


def _quantile(watch: Watch, factor: float, count: int, *, shared: bool) -> Drill:
    least = (1 + ACCURACY) / (1 - ACCURACY)
    if factor <= least:
        raise SettingsError(
            f"By a factor of {factor:g}, {watch.name} is not surely broken: quantiles are known to {ACCURACY:.0%}. "
            f"Use more than {least:.3g}."
        )
    limit = watch.limit or 0.0
    return Drill(watch, factor, limit * factor, limit, count, count, limit * factor, shared)


def _budget(watch: Watch, factor: float, count: int, *, shared: bool) -> Drill:
    share = 1 - watch.settings.target
    pair: Pair = max(watch.pairs, key=lambda each: each.rate)
    most = 1 / (share * pair.rate)
    bad = math.ceil(round(count * factor * pair.rate * share, 9))
    if factor <= 1 or bad > count:
        raise SettingsError(
            f"By a factor of {factor:g}, {watch.name} cannot be broken: its fastest pair of windows allows "
            f"{pair.rate:g} times the even pace, and if each fetch is bad that is {1 / share:g} times. "
            f"Use a factor above 1 and up to {most:.3g}."
        )
    elapsed = 2 * watch.limit if watch.limit is not None else 1.0
    return Drill(watch, factor, bad / count / share, pair.rate, count, bad, elapsed, shared)
