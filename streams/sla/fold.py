"""What is kept of many observations: counts, a sketch of times, the extremes, and the worst of them by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streams.sla.breach import Example
from streams.sla.sketch import Bins, bin_of, merge

__all__ = ["EXAMPLES", "Fold"]

EXAMPLES = 3
"""How many of the worst are kept by name."""


@dataclass(slots=True)
class Fold:
    """A sum of observations: any order and any grouping of the same ones give the same.

    Attributes:
        count: how many.
        over: how many of them broke what was promised to the reader (an outcome other than ok); of conformance, rows
            that broke a rule.
        bins: how long they took.
        longest: the longest, seconds.
        last: when the last was told, nanoseconds since the epoch.
        newest: greatest event time of live rows that any of them saw, nanoseconds since the epoch; None if none did.
        worst: the longest ones, the longest first.
        synthetic: how many were made up.
    """

    count: int = 0
    over: int = 0
    bins: Bins = field(default_factory=dict)
    longest: float = 0.0
    last: int = 0
    newest: int | None = None
    worst: tuple[Example, ...] = ()
    synthetic: int = 0

    def add(self, other: Fold) -> None:
        """Add what another holds."""
        self.count += other.count
        self.over += other.over
        merge(self.bins, other.bins)
        self.longest = max(self.longest, other.longest)
        self.last = max(self.last, other.last)
        if other.newest is not None:
            self.newest = other.newest if self.newest is None else max(self.newest, other.newest)
        if other.worst:
            self.worst = worst_of((*self.worst, *other.worst))
        self.synthetic += other.synthetic

    def above(self, seconds: float) -> int:
        """Return how many took longer; those in the limit's own bin, within the sketch's error, did not."""
        limit = bin_of(seconds)
        return sum(count for each, count in self.bins.items() if each > limit)

    def datum(self) -> dict[str, Any]:
        """Return the record `SlaFold` of `schemas/events/sla_observation.avsc`."""
        bins = sorted(self.bins.items())
        return {
            "count": self.count,
            "over": self.over,
            "bins": [each for each, _ in bins],
            "counts": [count for _, count in bins],
            "longest": self.longest,
            "last": self.last,
            "newest": self.newest,
            "worst": [{"fetch_id": e.fetch_id, "elapsed_seconds": e.elapsed_seconds, "at": e.at} for e in self.worst],
            "synthetic": self.synthetic,
        }

    @classmethod
    def from_datum(cls, datum: dict[str, Any]) -> Fold:
        """Return the fold of a record."""
        return cls(
            count=datum["count"],
            over=datum["over"],
            bins=dict(zip(datum["bins"], datum["counts"], strict=True)),
            longest=datum["longest"],
            last=datum["last"],
            newest=datum["newest"],
            worst=tuple(Example(**each) for each in datum["worst"]),
            synthetic=datum["synthetic"],
        )


def worst_of(examples: tuple[Example, ...]) -> tuple[Example, ...]:
    """Return the longest ones, the longest first, each once; which of equals is kept does not hang on their order."""
    return tuple(sorted(set(examples), key=_rank)[:EXAMPLES])


def _rank(example: Example) -> tuple[float, datetime, str]:
    return -example.elapsed_seconds, example.at, example.fetch_id
