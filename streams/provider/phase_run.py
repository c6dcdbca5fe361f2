"""One phase while it goes on: calls that are cut short at its budget, and what follows where there is no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from coordinator.retries import Backoff
from streams.log import get_logger
from streams.provider.account import Account
from streams.provider.budget import Budget, Violated
from streams.provider.calls import Kind, Pending, Target, Timeout
from streams.provider.observations import Lane, Outcome
from streams.provider.switch import Stopped
from streams.sla_exceeded import SeamlessSLAExceeded
from streams.sla_policy import Phase

__all__ = ["Failed", "PhaseRun"]

T = TypeVar("T")

_KINDS: dict[Phase, Kind] = {"storage_wait": "storage", "backfill_wait": "coordinator", "live_wait": "broker"}
_TRIES = 3
_LONGEST_PAUSE_S = 30.0
_TURN_S = 0.25

log = get_logger("provider")


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer but errors, which is a value, as going on without it may be right.

    Attributes:
        error: the last one.
        tries: how often it was asked.
    """

    error: Exception
    tries: int

    @property
    def reason(self) -> str:
        """What happened, in words."""
        return str(self.error)


class PhaseRun:
    """A phase that is entered with `with`; its time is all that passes inside.

    Leaving it judges the time: what took too long is a violation also if the answer came.
    """

    def __init__(self, account: Account, phase: Phase, reserve: float) -> None:
        self._account, self._phase, self._reserve = account, phase, reserve
        self._hold = account.policy.on_violation == "hold"
        self._outcome: Outcome = "ok"
        self._handed: float | None = None
        self._rows: int | None = None
        self._watermark: int | None = None
        self._lane: Lane = "backfill" if phase == "backfill_wait" else "live"

    def __enter__(self) -> Self:
        self._account.switch.check()
        clock, now = self._account.clock, self._account.now()
        clock.begin(self._phase, now)
        self._handed = clock.budget(self._phase, now, self._reserve).seconds
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        account, now = self._account, self._account.now()
        decision = account.clock.judge(self._phase, now)
        took = account.clock.end(now)
        raised: SeamlessSLAExceeded | None = None
        if isinstance(error, SeamlessSLAExceeded):
            self._outcome = "violated"
        elif isinstance(error, Stopped) or (error is not None and not isinstance(error, Exception)):
            return
        elif error is not None:
            self._outcome = "failed"
        elif isinstance(decision, Violated) and self._outcome == "ok":
            raised = account.violate(decision)
            self._outcome = "hold" if self._hold else "violated"
            account.held |= self._hold
        self._tell(took)
        if raised is not None:
            raise raised

    def left(self) -> float | None:
        """Return the seconds that may still be waited; None if there is no limit, as where the policy holds."""
        return None if self._hold else self._budget().seconds

    def is_over(self) -> bool:
        """Return whether no time is left, also where the policy holds and waits on."""
        return self._budget().seconds == 0

    def saw(self, rows: int, watermark: int | None = None, lane: Lane | None = None) -> None:
        """Say what came of it: rows, their greatest event time (nanoseconds since the epoch) and which they are."""
        self._rows, self._watermark, self._lane = rows, watermark, lane or self._lane

    def run(self, call: Callable[[], T], target: Target | None = None) -> T | Timeout:
        """Return what a call returns, or a Timeout when the budget is used up and the policy goes on without.

        With no time left it is not called. Where the limit of the phase itself is 0 it is called and not waited for.
        Where the policy says to hold, this waits on until there is an answer.

        Args:
            target: what is called; by default the archive, the coordinator or the broker, as the phase says.

        Raises:
            SeamlessSLAExceeded: if there is no answer in time, and the policy says to fail then.
            Stopped: if the fetch was stopped meanwhile.
            Exception: what the call raises.
        """
        target = target or self._target()
        budget = self._budget()
        if budget.seconds == 0 and budget.limit != 0 and not self._hold:
            return self._cut(budget, target.timeout(0.0))
        pending = self._begun(call, target, patient=budget.seconds is None)
        if isinstance(pending, Timeout):
            timeout = self._cut(budget, target.timeout(budget.seconds or 0.0, refused=pending.refused))
            pending = self._begun(call, target, patient=True) if self._hold else timeout
            if isinstance(pending, Timeout):
                return timeout
        try:
            if not self._account.switch.wait(pending, self._budget().seconds):
                timeout = self._cut(budget, target.timeout(budget.seconds or 0.0))
                if not self._hold:
                    return timeout
                while not self._account.switch.wait(pending, None):
                    pass
            return pending.result()
        finally:
            pending.abandon()

    def retry(
        self,
        call: Callable[[], T],
        on: type[Exception] | tuple[type[Exception], ...],
        *,
        tries: int = _TRIES,
        target: Target | None = None,
    ) -> T | Timeout | Failed:
        """Do as `run` does, and again after the policy's pauses where the call raises one of `on`.

        When all tries failed, or the next would come too late, the error is raised if the policy says to fail, else
        Failed is returned; where it says to hold, it is tried for ever.
        """
        pauses = Backoff(self._account.policy.retry_backoff, _LONGEST_PAUSE_S)
        while True:
            try:
                return self.run(call, target)
            except (SeamlessSLAExceeded, Stopped):
                raise
            except on as error:
                pause, left = pauses.next(), self.left()
                log.info("tried_in_vain", phase=self._phase, tries=pauses.failures, error=str(error))
                if not self._hold and (pauses.failures >= tries or (left is not None and pause >= left)):
                    if self._account.policy.on_violation == "fail_fast":
                        raise
                    self._without(str(error))
                    return Failed(error, pauses.failures)
            self._account.switch.pause(pause)

    def give_up(self, reason: str) -> None:
        """Say that what was waited for did not come: raise if the policy says to fail, else go on without.

        For a caller that waits by itself, up to `left`. Where the policy says to hold it reports, once, and the caller
        waits on.
        """
        self._broken(self._budget(), reason)

    def leave_out(self, reason: str) -> None:
        """Say that what the phase is for is left out on purpose; what is lacking for it, the coverage tells."""
        self._without(reason)

    # How

    def _budget(self) -> Budget:
        return self._account.clock.budget(self._phase, self._account.now(), self._reserve)

    def _target(self) -> Target:
        kind = _KINDS[self._phase]
        return self._account.around.calls.target(kind, self._account.around.where.get(kind, ""))

    def _begun(self, call: Callable[[], T], target: Target, *, patient: bool) -> Pending[T] | Timeout:
        """Begin a call when it is its turn; a Timeout if that is not within the budget, unless one is patient."""
        while True:
            left = _TURN_S if patient else self._budget().seconds or 0.0
            pending = target.start(call, min(left, _TURN_S))
            if not isinstance(pending, Timeout) or (not patient and (pending.refused or left <= _TURN_S)):
                return pending
            self._account.switch.pause(_TURN_S if pending.refused else 0.0)

    def _cut(self, budget: Budget, timeout: Timeout) -> Timeout:
        self._account.timed_out(timeout)
        self._broken(budget, timeout.reason)
        return timeout

    def _broken(self, budget: Budget, reason: str) -> None:
        account, now = self._account, self._account.now()
        found = account.clock.unanswered(self._phase, budget, now)
        error = account.violate(found, reason)
        if error is not None:
            raise error
        if not self._hold:
            self._without(reason)
        elif self._outcome != "hold":
            self._outcome, account.held = "hold", True
            self._tell(account.clock.going_on(now), final=False)

    def _without(self, reason: str) -> None:
        self._outcome = "partial"
        self._account.lacks(self._phase, reason)

    def _tell(self, elapsed: float, *, final: bool = True) -> None:
        self._account.tell(
            self._phase,
            self._outcome,
            elapsed,
            self._handed,
            lane=self._lane,
            rows=self._rows,
            watermark=self._watermark,
            final=final,
        )
