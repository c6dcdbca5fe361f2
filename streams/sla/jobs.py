"""Completeness: whether each backfill job of a dataset is done by its deadline.

What is known of a job is its newest state, and not a stream of observations: it is looked at when the watermark has
passed its deadline, and again until it is done. When it was done is said by the records of its shards, so a look that
comes late finds the same.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from streams.sla.breach import Breach, Severity
from streams.sla.objectives import Watch
from streams.sla.verdict import Links, Verdict, follow, resolved

__all__ = ["JobFact", "JobSeries"]


@dataclass(frozen=True, slots=True)
class JobFact:
    """What is known of a job.

    Attributes:
        id: its id and how often it was asked for anew.
        created: when it was asked for, nanoseconds since the epoch.
        urgent: whether somebody waits for it.
        ended: whether nothing more will come of it.
        cancelled: whether an operator took it back; then nothing was promised.
        shards: how many it has.
        done: for each shard that is done, when, nanoseconds since the epoch.
    """

    id: str
    created: int
    urgent: bool
    ended: bool
    cancelled: bool
    shards: int
    done: tuple[int, ...]

    def share_at(self, at: int) -> float:
        """Return the share of its shards that were done by a moment."""
        return sum(each <= at for each in self.done) / self.shards if self.shards else 1.0

    def reached(self, share: float) -> int | None:
        """Return when a share of its shards was done; None while it is not."""
        needed = max(1, -int(-share * self.shards // 1))
        return sorted(self.done)[needed - 1] if len(self.done) >= needed else None if self.shards else self.created


class JobSeries:
    """The breaches of one objective on one dataset's backfill jobs.

    Args:
        since: when it began to be watched; jobs whose deadline was before are none of its concern.
        kept: what `datum` returned.
    """

    def __init__(self, watch: Watch, links: Links, since: int, kept: dict[str, Any] | None = None) -> None:
        self.watch, self._links = watch, links
        self._since = since if kept is None else kept["since"]
        jobs = [] if kept is None else kept["jobs"]
        self._over = {job["id"] for job in jobs if job["breach"] is None}
        self.open = {job["id"]: Breach.from_datum(job["breach"]) for job in jobs if job["breach"] is not None}

    def asks(self, job: str, created: int, urgent: bool, at: int) -> bool:
        """Return whether it has to know more of a job, at a watermark: its deadline has passed, and it is not over."""
        concerns = urgent or not self.watch.settings.urgent_only
        return concerns and self._since <= self._deadline(created) <= at and job not in self._over

    def look(self, facts: list[JobFact], known: Set[str], at: int) -> list[Breach]:
        """Look at the jobs of the dataset, at a watermark; return the records that follow.

        Args:
            facts: of the jobs that it asks for.
            known: ids of all jobs of the dataset.
        """
        found = []
        for fact in sorted(facts, key=lambda fact: (fact.created, fact.id)):
            if self.asks(fact.id, fact.created, fact.urgent, at):
                found += self._judged(fact, self._deadline(fact.created))
        self._over &= known
        for gone in sorted(set(self.open) - known):  # the coordinator forgot it
            found.append(resolved(self.open.pop(gone), "silent"))
        return found

    def withdraw(self) -> list[Breach]:
        """Return the records that end its breaches, as nobody promises this any more."""
        return [resolved(breach, "withdrawn") for _, breach in sorted(self.open.items())]

    def datum(self) -> dict[str, Any]:
        """Return the state, as `schemas/events/sla_state.avsc` has it."""
        over = [{"id": each, "breach": None} for each in sorted(self._over)]
        still = [{"id": each, "breach": breach.datum()} for each, breach in sorted(self.open.items())]
        return {"key": self.watch.id, "offset": -1, "watermark": None, "since": self._since, "closed": 0,
                "jobs": over + still}  # fmt: skip

    def _deadline(self, created: int) -> int:
        return created + int((self.watch.limit or 0.0) * 1e9)

    def _judged(self, fact: JobFact, deadline: int) -> list[Breach]:
        watch, last = self.watch, self.open.get(fact.id)
        reached = fact.reached(watch.min_coverage)
        kept = reached is not None and reached <= deadline
        if last is None and (kept or fact.cancelled):
            self._over.add(fact.id)
            return []
        found = []
        if last is None:
            late = self._verdict(fact, deadline, deadline, watch.settings.severity)
            last = follow(watch, self._links, None, late, fact.id)
            assert last is not None
            found.append(last)
        if reached is not None or fact.cancelled:
            told = follow(watch, self._links, last, self._verdict(fact, deadline, reached or deadline, None), fact.id)
            assert told is not None
            self.open.pop(fact.id, None)
            self._over.add(fact.id)
            return [*found, told if reached is not None else resolved(last, "withdrawn")]
        if fact.ended and last.severity == "warning":  # it failed, and will never be done
            told = follow(watch, self._links, last, self._verdict(fact, deadline, deadline, "critical"), fact.id)
            assert told is not None
            last = told
            found.append(told)
        self.open[fact.id] = last
        return found

    def _verdict(self, fact: JobFact, deadline: int, end: int, broken: Severity | None) -> Verdict:
        done = sum(each <= end for each in fact.done)
        return Verdict(
            start=fact.created,
            end=max(end, deadline),
            broken=broken,
            observed=fact.share_at(end),
            promised=self.watch.min_coverage,
            count=fact.shards,
            over=fact.shards - done,
            began=fact.id,
        )
