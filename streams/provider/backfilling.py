"""What is missing, asked of the coordinator and waited for under a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coordinator.protocol import BackfillRejected, CoordinatorUnavailable, JobStatus, Planned
from coordinator.ranges import Range
from coordinator.retries import Backoff
from streams.provider.calls import Timeout
from streams.provider.filling import ENDED, Filling, request_for
from streams.provider.phase_run import Failed, PhaseRun
from streams.provider.phases import Phases
from streams.provider.switch import Switch

__all__ = ["Backfilled", "Backfilling"]

_PAUSES_S = (0.05, 2.0)
_RESERVE_S, _RESERVE_SHARE = 1.0, 0.1


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What came of it.

    Attributes:
        outcome: nothing was missing; the coordinator `rejected` the request, or was `unavailable`; the job is `running`
            still, or `ended`.
        reason: in words, where there is something to say.
        job: None if there is none.
    """

    outcome: Literal["nothing", "rejected", "unavailable", "running", "ended"]
    reason: str = ""
    job: JobStatus | None = None

    @property
    def may_have_come(self) -> bool:
        """Whether there may be rows now that were not there before."""
        return self.outcome in ("running", "ended")


class Backfilling:
    """Has missing ranges fetched; for one fetch or stream.

    Args:
        by: who asks, for the coordinator's list of jobs.
    """

    def __init__(self, filling: Filling, dataset: str, switch: Switch, by: str) -> None:
        self._filling, self._dataset, self._switch, self._by = filling, dataset, switch, by

    def run(self, phases: Phases, missing: Mapping[str, Sequence[Range]]) -> Backfilled:
        """Ask for what is missing, by symbol, and wait until it is fetched or the policy says to go on.

        Raises:
            SeamlessSLAExceeded, CoordinatorUnavailable: as the policy says.
        """
        request = request_for(self._dataset, missing, requested_by=self._by)
        if request is None:
            return Backfilled("nothing")

        def ask() -> Planned | BackfillRejected:
            try:
                return self._filling.request(request)
            except BackfillRejected as error:
                return error

        total = phases.policy.total_deadline
        reserve = 0.0 if total is None else min(_RESERVE_S, _RESERVE_SHARE * total)
        with phases.phase("backfill_wait", reserve=reserve) as phase:
            planned = phase.retry(ask, CoordinatorUnavailable)
            if isinstance(planned, BackfillRejected):
                return Backfilled("rejected", str(planned))
            if isinstance(planned, Timeout | Failed):
                return Backfilled("unavailable", planned.reason)
            return self._waited(phases, phase, planned.job)

    def _waited(self, phases: Phases, phase: PhaseRun, job: JobStatus) -> Backfilled:
        pauses, told = Backoff(*_PAUSES_S), False
        while job.state not in ENDED:
            if phase.is_over() and not told:
                reason = f"job {job.id} is {job.state}, {job.ratio:.0%} of it done"
                phase.give_up(reason)
                told = True
                if phases.policy.on_violation != "hold":
                    return Backfilled("running", reason, job)
            left, pause = phase.left(), pauses.next()
            self._switch.pause(pause if left is None else min(pause, left))
            if left is not None and pause >= left:
                continue
            looked = phase.retry(lambda known=job: self._filling.job(known.id), CoordinatorUnavailable)  # type: ignore[misc]
            if isinstance(looked, Timeout | Failed):
                return Backfilled("unavailable", looked.reason, job)
            job = looked
        return Backfilled("ended", "" if job.state == "done" else f"job {job.id} is {job.state}", job)
