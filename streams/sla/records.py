"""What the records of `sla.observations` say, and what conformance reports say in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streams.sla.breach import Example
from streams.sla.fold import Fold
from streams.sla.objectives import DATASET_ITSELF, SeriesKey
from streams.sla.sketch import bin_of
from streams.sla.verdict import moment, nanos

__all__ = ["TICK", "Told", "of_report", "of_watermark", "told"]

TICK = b"tick"
"""The key of ticks, which have no value; their timestamp is the time that they tell."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one record says.

    Attributes:
        at: when, nanoseconds since the epoch.
        source: partition and offset that it was handed on from.
    """

    series: SeriesKey
    at: int
    fold: Fold
    source: tuple[int, int] | None = None


def told(datum: Mapping[str, Any]) -> Told | None:
    """Return what a record says; None of one that is told while its phase still goes on, as another will follow."""
    series = SeriesKey(datum["dataset"], datum["consumer"], datum["phase"])
    at = nanos(datum["at"])
    if datum.get("fold") is not None:  # the first version of the schema had neither
        source = datum.get("source")
        origin = None if source is None else (source["partition"], source["offset"])
        return Told(series, at, Fold.from_datum(datum["fold"]), origin)
    if not datum["final"]:
        return None
    return Told(series, at, fold_of(datum))


def fold_of(datum: Mapping[str, Any]) -> Fold:
    """Return a single observation as a fold."""
    elapsed, at = datum["elapsed_seconds"], datum["at"]
    return Fold(
        count=1,
        over=datum["outcome"] != "ok",
        bins={bin_of(elapsed): 1},
        longest=elapsed,
        last=nanos(at),
        newest=datum["watermark"] if datum["lane"] == "live" else None,
        worst=(Example(datum["fetch_id"], elapsed, at),),
        synthetic=int(datum["synthetic"]),
    )


def of_report(report: Mapping[str, Any], topic: str, partition: int, offset: int) -> dict[str, Any] | None:
    """Return the observation that a conformance report makes: its rows, those that broke a rule, and how new they are.

    A row with two findings is in both counts, so of those that passed no more than the most frequent finding is sure.
    """
    if report["created_at"] is None or not report["rows_in"]:
        return None
    found = [f["count"] for f in report["findings"] if f["severity"] == "violation"]
    over = max([report["rows_quarantined"], *found])
    newest = report.get("newest")  # of an earlier version there is none
    fold = Fold(
        count=report["rows_in"],
        over=min(over, report["rows_in"]),
        last=nanos(report["created_at"]),
        newest=None if newest is None else nanos(newest),
    )
    source = {"topic": topic, "partition": partition, "offset": offset}
    return _about_dataset(report["world"], report["dataset"], "conformance", report["created_at"], fold, source)


def of_watermark(world: str, dataset: str, newest: int, at: int) -> dict[str, Any]:
    """Return the observation that says how new the rows of a dataset are, whoever saw or wrote them."""
    return _about_dataset(world, dataset, "staleness", moment(at), Fold(count=1, last=at, newest=newest), None)


def _about_dataset(
    world: str, dataset: str, phase: str, at: datetime, fold: Fold, source: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "world": world,
        "dataset": dataset,
        "consumer": DATASET_ITSELF,
        "phase": phase,
        "lane": "live",
        "outcome": "ok",
        "elapsed_seconds": 0.0,
        "symbols": 0,
        "fetch_id": "",
        "at": at,
        "fold": fold.datum(),
        "source": source,
    }
