"""The phases of one fetch or stream under its policy: each timed, cut short at its budget, judged and told.

phases = Phases(resolve(settings, dataset, consumer, sla), symbols=symbols, around=Surroundings(...))
with phases:
    with phases.phase("storage_wait") as phase:
        rows = phase.run(lambda: reader.read(...))  # the rows, or a Timeout where the policy goes on without
    phases.check_coverage(0.97, missing=[...])
    report = phases.finish(rows=len(rows))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from streams.provider.account import Account, Surroundings
from streams.provider.budget import Decision, Violated, judge_coverage, judge_staleness
from streams.provider.observations import Lane, Outcome
from streams.provider.phase_run import PhaseRun
from streams.provider.switch import Stopped, Switch
from streams.sla_exceeded import MissingRange, SeamlessSLAExceeded
from streams.sla_policy import Objective, Phase, SLAPolicy
from streams.sla_resolve import ResolvedPolicy

__all__ = ["PhaseReport", "Phases"]


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """What became of the promises of one fetch.

    Attributes:
        timings: seconds of each phase that was entered, and `total`.
        violations: what was not kept, each objective once, in the order in which it was found.
        partial: whether something was left out that took too long or failed, or too little is there.
        held: whether something took longer than promised and was waited for.
        reasons: by phase, in words, why it gave nothing.
        fetch_id: the same in observations and log.
    """

    timings: Mapping[str, float]
    violations: tuple[Violated, ...]
    partial: bool
    held: bool
    reasons: Mapping[str, str]
    fetch_id: str


class Phases:
    """Times, cuts short and judges; for one thread, but that `stop` may be called from any.

    Its time begins when it is made. As a context manager it finishes by itself, and tells of the whole also if an error
    ended it.

    Args:
        resolved: what is promised to whom.
        symbols: what was asked for; empty for all.
        fetch_id: made up if not given.
        synthetic: whether all this is made up to try the alerts.
        switch: ends the waiting; shared by all steps of a stream.
    """

    def __init__(
        self,
        resolved: ResolvedPolicy,
        *,
        symbols: Sequence[str] = (),
        around: Surroundings | None = None,
        fetch_id: str | None = None,
        synthetic: bool = False,
        switch: Switch | None = None,
    ) -> None:
        around, switch = around or Surroundings(), switch or Switch()
        self._account = Account(resolved, symbols, around, fetch_id, synthetic, switch)
        self._finished = False

    @property
    def policy(self) -> SLAPolicy:
        """What is promised."""
        return self._account.policy

    @property
    def fetch_id(self) -> str:
        """The same in observations and log."""
        return self._account.fetch_id

    def phase(self, name: Phase, *, reserve: float = 0.0) -> PhaseRun:
        """Return a phase, to be entered with `with`; one at a time.

        `reserve` seconds of the whole are kept for what follows, such as the reading of what backfill has brought.
        """
        return PhaseRun(self._account, name, reserve)

    def left(self) -> float | None:
        """Return the seconds left of the whole; None if there is no limit."""
        return self._account.clock.left(self._account.now())

    def lacks(self, missing: Sequence[MissingRange]) -> None:
        """Say what is known to be missing, so that an error can name it."""
        self._account.missing = tuple(missing)

    def check_staleness(self, seconds: float, *, watermark: int | None = None) -> Decision:
        """Judge the age of the newest row (`streams.provider.staleness`), in seconds.

        Returns:
            What follows; where the policy says to hold, the caller waits on and asks again.

        Raises:
            SeamlessSLAExceeded: if it is too old, and the policy says to fail then.
        """
        decision = judge_staleness(self.policy, seconds)
        self._checked("staleness", decision, seconds, self.policy.max_staleness, watermark)
        return decision

    def check_coverage(self, ratio: float, missing: Sequence[MissingRange] = ()) -> Decision:
        """Judge how much of what was asked for is there, 0 to 1; returns and raises as `check_staleness` does."""
        self.lacks(missing)
        self._account.coverage = ratio
        decision = judge_coverage(self.policy, ratio)
        self._checked("coverage", decision, self._account.clock.elapsed(self._account.now()), None, None)
        return decision

    def report(self) -> PhaseReport:
        """Return what became of the promises so far."""
        account = self._account
        timings = account.clock.timings(account.now())
        found = tuple(account.violations)
        return PhaseReport(timings, found, account.partial, account.held, dict(account.reasons), account.fetch_id)

    def finish(self, *, rows: int | None = None, watermark: int | None = None, lane: Lane = "live") -> PhaseReport:
        """Judge and tell the whole; a second call only reports.

        Args:
            rows: how many the fetch gives.
            watermark: their greatest event time, nanoseconds since the epoch.
            lane: which rows the watermark is of.

        Raises:
            SeamlessSLAExceeded: if it took too long, and the policy says to fail then.
        """
        if self._finished:
            return self.report()
        self._finished = True
        account = self._account
        now = account.now()
        decision = account.clock.judge_total(now)
        late = isinstance(decision, Violated)
        error = account.violate(decision) if isinstance(decision, Violated) else None
        account.held |= late and self.policy.on_violation == "hold"
        outcome: Outcome = "partial" if account.partial else "hold" if account.held else "violated" if late else "ok"
        account.tell(
            "total",
            outcome,
            account.clock.elapsed(now),
            self.policy.total_deadline,
            lane=lane,
            rows=rows,
            watermark=watermark,
        )
        if error is not None:
            raise error
        return self.report()

    def renewed(self) -> Phases:
        """Return the phases of the next step of the same stream: the same promises, all times from now on."""
        account = self._account
        return Phases(
            account.resolved,
            symbols=account.symbols,
            around=account.around,
            fetch_id=account.fetch_id,
            synthetic=account.synthetic,
            switch=account.switch,
        )

    def stop(self) -> None:
        """Let whatever waits raise Stopped; from any thread."""
        self._account.switch.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        elif not self._finished and isinstance(error, Exception) and not isinstance(error, Stopped):
            self._finished = True
            outcome: Outcome = "violated" if isinstance(error, SeamlessSLAExceeded) else "failed"
            elapsed = self._account.clock.elapsed(self._account.now())
            self._account.tell("total", outcome, elapsed, self.policy.total_deadline)

    def _checked(
        self, objective: Objective, decision: Decision, elapsed: float, budget: float | None, watermark: int | None
    ) -> None:
        account = self._account
        outcome: Outcome = "ok"
        error = None
        if isinstance(decision, Violated):
            error = account.violate(decision)
            outcome = "violated" if error else "hold" if decision.action == "hold" else "partial"
            account.held |= outcome == "hold"
            account.partial |= outcome == "partial"
        account.tell(objective, outcome, elapsed, budget, watermark=watermark)
        if error is not None:
            raise error
