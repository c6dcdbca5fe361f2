"""Judges of the promises that are kept or broken within windows: quantiles and conformance, budgets, staleness.

A judge is asked at the ends of steps, in their order, each once. Between two that matter it may leave out those at
which nothing can change; what it says depends on what was folded only, and never on when it was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from streams.provider.staleness import staleness_seconds
from streams.sla.breach import Example, Severity
from streams.sla.burn import Ledger, Piece
from streams.sla.clock import floor
from streams.sla.fold import worst_of
from streams.sla.objectives import Watch
from streams.sla.sketch import bin_at, bin_of, value_of
from streams.sla.verdict import Verdict, nanos
from streams.sla.windows import Panes

__all__ = ["BudgetJudge", "Judge", "StalenessJudge", "WindowJudge", "judge_of"]


class Judge(Protocol):
    """Says what became of one promise."""

    def next_end(self, panes: Panes, closed: int, until: int, *, is_open: bool) -> int:
        """Return the next end of a step at which something may change, behind `closed` and not behind `until`."""
        ...

    def judge(self, panes: Panes, end: int) -> Verdict:
        """Return what is found at the end of a step."""
        ...

    def peek(self, panes: Panes, at: int) -> Verdict:
        """Return how things stand at a moment, in the window that has not ended; it changes nothing."""
        ...

    def needs_from(self, end: int) -> int:
        """Return from where panes are needed once the step that ends so is judged."""
        ...

    @property
    def empty(self) -> bool:
        """Whether it remembers nothing."""
        ...

    def datum(self) -> dict[str, Any]:
        """Return what it remembers, for the record of the state."""
        ...


class WindowJudge:
    """Judges each window by itself: a quantile of how long things took, or the share of rows that broke a rule."""

    empty = True

    def __init__(self, watch: Watch) -> None:
        self._watch, self._limit = watch, watch.limit or 0.0

    def next_end(self, panes: Panes, closed: int, until: int, *, is_open: bool) -> int:
        step, first = self._watch.step, panes.first
        if is_open:
            return closed + step
        return until if first is None else min(until, max(closed, first) + step)

    def judge(self, panes: Panes, end: int) -> Verdict:
        watch, start = self._watch, end - self._watch.window
        fold = panes.window(start, end)
        if fold.count and fold.count < watch.settings.min_count:
            return Verdict(start, end, decided=False)
        if watch.kind == "conformance":
            observed = fold.over / fold.count if fold.count else None
            broken, over = observed is not None and observed > self._limit, fold.over
        else:
            found = bin_at(fold.bins, watch.settings.quantile)
            observed = None if found is None else min(value_of(found), fold.longest)
            broken, over = found is not None and found > bin_of(self._limit), fold.above(self._limit)
        severity = watch.settings.severity if broken else None
        return Verdict(start, end, severity, True, observed, None, fold.count, over, (), fold.worst, fold.synthetic > 0)

    def peek(self, panes: Panes, at: int) -> Verdict:
        return self.judge(panes, floor(at, self._watch.step) + self._watch.step)

    def needs_from(self, end: int) -> int:
        return end + self._watch.step - self._watch.window

    def datum(self) -> dict[str, Any]:
        return {}


class BudgetJudge:
    """Judges how fast an error budget is used up."""

    def __init__(self, watch: Watch, kept: dict[str, Any] | None = None) -> None:
        self._watch = watch
        rings: Iterable[Iterable[Piece]] = (
            [] if kept is None else [[(p["start"], p["count"], p["over"]) for p in ring] for ring in kept["rings"]]
        )
        self.ledger = Ledger(watch.pairs, watch.period, 1 - watch.settings.target, rings)
        self._worst = () if kept is None else tuple(Example(**each) for each in kept["worst"])
        self._synthetic_at: int | None = None if kept is None else kept["synthetic_at"]

    def next_end(self, panes: Panes, closed: int, until: int, *, is_open: bool) -> int:
        step, first = self._watch.step, panes.first
        stirs = self.ledger.can_burn_until()
        if is_open or (stirs is not None and closed < stirs):
            return closed + step
        return until if first is None else min(until, max(closed, first) + step)

    def judge(self, panes: Panes, end: int) -> Verdict:
        watch, start = self._watch, end - self._watch.step
        fold = panes.get(start)
        if fold is not None:
            bad = fold.over if watch.limit is None else fold.above(watch.limit)
            self.ledger.add(start, fold.count, bad)
            if bad:
                # Of each pair its own, so that what is old takes no place of what is new. Only here it changes, as
                # steps at which nothing was told may be left out.
                told = (*self._worst, *fold.worst)
                self._worst = tuple(dict.fromkeys(each for p in watch.pairs for each in _since(told, end - p.long)))
            if bad and fold.synthetic:
                self._synthetic_at = start
        self.ledger.forget(end)
        return self._burning(end)

    def peek(self, panes: Panes, at: int) -> Verdict:  # noqa: ARG002 - a pane of it is no part of the budget yet
        return self._burning(at)

    def _burning(self, end: int) -> Verdict:
        watch = self._watch
        burns = self.ledger.burns(end, watch.settings.min_count)
        shown = next((i for i, (_, fires) in enumerate(burns) if fires), 0)
        fires = {burn.severity for burn, fires in burns if fires}
        severity: Severity | None = "critical" if "critical" in fires else "warning" if fires else None
        start = end - watch.pairs[shown].long
        count, over = self.ledger.counts(end, shown)
        return Verdict(
            start=start,
            end=end,
            broken=severity,
            observed=burns[shown][0].long_rate if count else None,
            promised=burns[shown][0].threshold,
            count=count,
            over=over,
            burn=tuple(burn for burn, _ in burns),
            examples=_since(self._worst, start),
            synthetic=self._synthetic_at is not None and self._synthetic_at >= start,
            began=end,
        )

    def needs_from(self, end: int) -> int:
        return end

    @property
    def empty(self) -> bool:
        return not len(self.ledger)

    def datum(self) -> dict[str, Any]:
        return {
            "rings": [[{"start": s, "count": c, "over": o} for s, c, o in ring] for ring in self.ledger.pieces()],
            "worst": [{"fetch_id": e.fetch_id, "elapsed_seconds": e.elapsed_seconds, "at": e.at} for e in self._worst],
            "synthetic_at": self._synthetic_at,
        }


def _since(examples: tuple[Example, ...], start: int) -> tuple[Example, ...]:
    """Return the worst of those that are no older than a moment."""
    return worst_of(tuple(each for each in examples if nanos(each.at) >= start))


class StalenessJudge:
    """Judges the age of the newest live row, by the dataset's calendar, at the end of every second.

    Args:
        since: since when the series is watched: if no row was ever seen, it is stale from then on. None until the first
            step is judged: then it is the first second of which anything was told, whatever was read first.
    """

    empty = False  # the newest row is remembered for as long as the objective is there

    def __init__(self, watch: Watch, since: int | None = None, newest: int | None = None) -> None:
        self._watch, self._limit = watch, watch.limit or 0.0
        self._since, self.newest = since, newest

    def next_end(self, panes: Panes, closed: int, until: int, *, is_open: bool) -> int:
        if self._since is None:
            self._since = closed if panes.first is None else panes.first
        # Without a newer row it only ages: where it is as it is now, it was so all the time between.
        quiet = min(until, until if panes.first is None else panes.first)
        if quiet <= closed:
            return closed + self._watch.step
        if is_open or not self._is_stale(quiet):
            return quiet
        step, good, bad = self._watch.step, closed, quiet
        while bad - good > step:
            middle = good + floor((bad - good) // 2, step)
            good, bad = (good, middle) if self._is_stale(middle) else (middle, bad)
        return bad

    def judge(self, panes: Panes, end: int) -> Verdict:
        seen = [fold for start, fold in panes if start < end and fold.newest is not None]
        for fold in seen:  # a row that is dated in the future is as new as may be, and ages all the same
            self.newest = max(self.newest or 0, min(fold.newest or 0, end))
        broken: Severity | None = self._watch.settings.severity if self._is_stale(end) else None
        baseline = self._baseline(end)
        return Verdict(
            start=min(baseline, end),
            end=end,
            broken=broken,
            observed=self._age(end),
            count=sum(fold.count for fold in seen),
            synthetic=any(fold.synthetic for fold in seen),
            began=baseline,
        )

    def peek(self, panes: Panes, at: int) -> Verdict:
        return self.judge(panes, at)

    def needs_from(self, end: int) -> int:
        return end

    def datum(self) -> dict[str, Any]:
        return {"newest": self.newest, "since": self._since or 0}

    def _baseline(self, end: int) -> int:
        """Return what age counts from; before the first step is judged nothing has any."""
        return next((at for at in (self.newest, self._since) if at is not None), end)

    def _is_stale(self, end: int) -> bool:
        return self._age(end) > self._limit

    def _age(self, end: int) -> float:
        return staleness_seconds(
            self._baseline(end), end, interval_ns=self._watch.interval_ns, calendar=self._watch.calendar
        )


def judge_of(watch: Watch, kept: dict[str, Any] | None = None) -> Judge:
    """Return the judge of an objective, with what it remembered."""
    if watch.kind == "budget":
        return BudgetJudge(watch, kept)
    if watch.kind == "staleness":
        return StalenessJudge(watch) if kept is None else StalenessJudge(watch, kept["since"] or None, kept["newest"])
    return WindowJudge(watch)
