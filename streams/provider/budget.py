"""What each phase of a fetch may still take, and what follows where it took more. Pure: time is an argument.

A fetch waits in phases, one after the other. A phase may be entered more than once; its limit is for all its times
together. It is handed its own limit or what is left of the whole fetch's, whichever is less, so that no phase can use
up what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from streams.sla_policy import Objective, OnViolation, Phase, SLAPolicy

__all__ = ["Action", "Budget", "Decision", "PhaseClock", "Proceed", "Violated", "judge_coverage", "judge_staleness"]

Action = Literal["raise", "partial", "hold"]
ACTIONS: Mapping[OnViolation, Action] = MappingProxyType(
    {"fail_fast": "raise", "partial_fill": "partial", "hold": "hold"}
)


@dataclass(frozen=True, slots=True)
class Proceed:
    """The promise is kept."""


@dataclass(frozen=True, slots=True)
class Violated:
    """The promise is broken.

    Attributes:
        objective: whose limit it is: a phase, total, staleness or coverage.
        limit, actual: seconds; of coverage, shares.
        action: what the policy says to do.
        during: the phase that was going on; as `objective` if none was.
    """

    objective: Objective
    limit: float
    actual: float
    action: Action
    during: Objective


Decision = Proceed | Violated


@dataclass(frozen=True, slots=True)
class Budget:
    """What a phase may take from now on.

    Attributes:
        seconds: None if there is no limit.
        bound_by: the phase if its own limit is the nearer one, else total.
        limit: that limit in full; None if there is none.
    """

    seconds: float | None
    bound_by: Objective
    limit: float | None


class PhaseClock:
    """The times of one fetch. Every method is told the present one, in seconds on a clock that never goes back.

    Args:
        started: when the fetch began.
    """

    def __init__(self, policy: SLAPolicy, started: float) -> None:
        self._policy, self._started = policy, started
        self._spent: dict[Phase, float] = {}
        self._current: tuple[Phase, float] | None = None

    def begin(self, phase: Phase, now: float) -> None:
        """Enter a phase; ValueError if another one is going on, as their times would count twice."""
        if self._current is not None:
            raise ValueError(f"{phase} begins while {self._current[0]} goes on: phases follow one another")
        self._current = (phase, now)

    def end(self, now: float) -> float:
        """Leave the phase that is going on; return how many seconds it took this time."""
        if self._current is None:
            raise ValueError("no phase is going on")
        phase, began = self._current
        self._spent[phase] = self.spent(phase, now)
        self._current = None
        return now - began

    def going_on(self, now: float) -> float:
        """Return the seconds of the present time in the phase that is going on; 0 if none is."""
        return 0.0 if self._current is None else now - self._current[1]

    def spent(self, phase: Phase, now: float) -> float:
        """Return the seconds of all times in a phase, the present one included."""
        goes_on = self._current is not None and self._current[0] == phase
        return self._spent.get(phase, 0.0) + (self.going_on(now) if goes_on else 0.0)

    def elapsed(self, now: float) -> float:
        """Return the seconds since the fetch began."""
        return now - self._started

    def left(self, now: float) -> float | None:
        """Return the seconds left of the whole; None if there is no limit."""
        total = self._policy.total_deadline
        return None if total is None else max(0.0, total - self.elapsed(now))

    def budget(self, phase: Phase, now: float, reserve: float = 0.0) -> Budget:
        """Return what a phase may take from now on; `reserve` seconds of the whole are kept for what follows it."""
        own, left = self._policy.wait(phase), self.left(now)
        left_own = None if own is None else max(0.0, own - self.spent(phase, now))
        left_total = None if left is None else max(0.0, left - reserve)
        if left_total is None or (left_own is not None and left_own <= left_total):
            return Budget(left_own, phase, own)
        return Budget(left_total, "total", self._policy.total_deadline)

    def judge(self, phase: Phase, now: float) -> Decision:
        """Return whether a phase, and with it the whole fetch, is within its limits."""
        own = self._policy.wait(phase)
        spent = self.spent(phase, now)
        if own is not None and spent > own:
            return Violated(phase, own, spent, ACTIONS[self._policy.on_violation], phase)
        return self.judge_total(now, phase)

    def judge_total(self, now: float, during: Objective = "total") -> Decision:
        """Return whether the whole fetch is within its limit."""
        total, elapsed = self._policy.total_deadline, self.elapsed(now)
        if total is not None and elapsed > total:
            return Violated("total", total, elapsed, ACTIONS[self._policy.on_violation], during)
        return Proceed()

    def unanswered(self, phase: Phase, budget: Budget, now: float) -> Violated:
        """Return what follows where a phase got no answer within its budget."""
        actual = self.spent(phase, now) if budget.bound_by == phase else self.elapsed(now)
        return Violated(budget.bound_by, budget.limit or 0.0, actual, ACTIONS[self._policy.on_violation], phase)

    def timings(self, now: float) -> dict[str, float]:
        """Return the seconds of every phase that was entered, and `total`."""
        phases = {**self._spent, **({} if self._current is None else {self._current[0]: 0.0})}
        return {**{phase: self.spent(phase, now) for phase in phases}, "total": self.elapsed(now)}


def judge_staleness(policy: SLAPolicy, seconds: float) -> Decision:
    """Return whether the newest row is young enough."""
    limit = policy.max_staleness
    if limit is not None and seconds > limit:
        return Violated("staleness", limit, seconds, ACTIONS[policy.on_violation], "staleness")
    return Proceed()


def judge_coverage(policy: SLAPolicy, ratio: float) -> Decision:
    """Return whether enough of what was asked for is there; `ratio` is a share, 0 to 1."""
    if ratio < policy.min_coverage:
        return Violated("coverage", policy.min_coverage, ratio, ACTIONS[policy.on_violation], "coverage")
    return Proceed()
