"""The account of one fetch: its times, what was not kept, and telling of it. What `Phases` and `PhaseRun` share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from streams import clock
from streams.log import get_logger
from streams.provider.budget import PhaseClock, Violated
from streams.provider.calls import PROCESS_CALLS, Calls, Kind, Timeout
from streams.provider.observations import Lane, Observation, Observer, Outcome
from streams.provider.switch import Switch
from streams.sla_exceeded import MissingRange, SeamlessSLAExceeded
from streams.sla_policy import Objective
from streams.sla_resolve import ResolvedPolicy

__all__ = ["Account", "Surroundings"]

log = get_logger("provider")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a fetch finds around it; all fetches of a provider share one.

    Attributes:
        observers: are told every phase and check, on the caller's thread: they must not wait.
        on_timeout: is told every call that gave no answer.
        calls: where stuck threads are counted.
        where: which archive, coordinator and broker, so that one that hangs is not taken for another.
        now, wall: a clock that never goes back, and the time of day.
    """

    observers: Sequence[Observer] = ()
    on_timeout: Callable[[Timeout], None] | None = None
    calls: Calls = PROCESS_CALLS
    where: Mapping[Kind, str] = field(default_factory=lambda: MappingProxyType({}))
    now: Callable[[], float] = clock.monotonic
    wall: Callable[[], datetime] = clock.now


class Account:
    """What is known of one fetch or stream so far."""

    def __init__(
        self,
        resolved: ResolvedPolicy,
        symbols: Sequence[str],
        around: Surroundings,
        fetch_id: str | None,
        synthetic: bool,
        switch: Switch,
    ) -> None:
        self.resolved, self.policy, self.symbols = resolved, resolved.policy, tuple(symbols)
        self.around, self.synthetic, self.switch = around, synthetic, switch
        self.fetch_id = fetch_id or uuid.uuid4().hex
        self.clock = PhaseClock(self.policy, around.now())
        self.missing: tuple[MissingRange, ...] = ()
        self.coverage: float | None = None
        self.violations: list[Violated] = []
        self.reasons: dict[str, str] = {}
        self.partial = self.held = False

    def now(self) -> float:
        """Return the time on the clock that never goes back."""
        return self.around.now()

    # What is not kept

    def violate(self, found: Violated, reason: str | None = None) -> SeamlessSLAExceeded | None:
        """Note a broken promise, each objective once; return the error to raise, None if the policy says to go on."""
        if all(known.objective != found.objective for known in self.violations):
            self.violations.append(found)
            log.warning(
                "sla_violated",
                dataset=self.resolved.dataset,
                consumer=self.resolved.consumer,
                phase=found.objective,
                during=found.during,
                limit=found.limit,
                actual=round(found.actual, 6),
                action=found.action,
                reason=reason,
                fetch_id=self.fetch_id,
            )
        if found.action != "raise":
            return None
        return SeamlessSLAExceeded(
            found.objective,
            found.limit,
            found.actual,
            dataset=self.resolved.dataset,
            symbols=self.symbols,
            missing=self.missing,
            during=found.during,
            reason=reason,
        )

    def lacks(self, phase: str, reason: str) -> None:
        """Note that a phase gave nothing and the fetch goes on without."""
        self.partial = True
        self.reasons[phase] = reason

    def timed_out(self, timeout: Timeout) -> None:
        """Note a call without an answer."""
        if self.around.on_timeout is not None:
            self.around.on_timeout(timeout)

    # Telling

    def tell(
        self,
        objective: Objective,
        outcome: Outcome,
        elapsed: float,
        budget: float | None,
        *,
        lane: Lane = "live",
        rows: int | None = None,
        watermark: int | None = None,
        final: bool = True,
    ) -> None:
        """Tell the observers; what they raise ends there."""
        with_coverage = objective in ("coverage", "total") and self.coverage is not None
        told = Observation(
            world=self.resolved.world,
            dataset=self.resolved.dataset,
            consumer=self.resolved.consumer,
            phase=objective,
            interval=self.resolved.interval,
            lane=lane,
            outcome=outcome,
            elapsed_seconds=elapsed,
            budget_seconds=budget,
            at=self.around.wall(),
            fetch_id=self.fetch_id,
            symbols=len(self.symbols),
            rows=rows,
            watermark=watermark,
            coverage=self.coverage if with_coverage else None,
            min_coverage=self.policy.min_coverage if with_coverage else None,
            final=final,
            synthetic=self.synthetic,
        )
        for observer in self.around.observers:
            try:
                observer(told)
            except Exception as error:
                log.warning("observer_failed", phase=objective, error=repr(error), fetch_id=self.fetch_id)
