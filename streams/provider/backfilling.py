"""What is missing, asked of the coordinator and waited for under a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coordinator.protocol import BackfillRejected, BackfillRequest, CoordinatorUnavailable, JobStatus, Planned
from coordinator.ranges import Range
from coordinator.retries import Backoff
from streams.provider.calls import Timeout
from streams.provider.filling import ENDED, Filling, request_for
from streams.provider.phase_run import Failed, PhaseRun
from streams.provider.phases import Phases
from streams.provider.switch import Switch
from streams.sla_policy import SLAPolicy

__all__ = ["Backfilled", "Backfilling", "ask_for", "reserve_of", "wait_for"]

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

        with phases.phase("backfill_wait", reserve=reserve_of(phases.policy)) as phase:
            planned = ask_for(phase, self._filling, request)
            if isinstance(planned, BackfillRejected):
                return Backfilled("rejected", str(planned))
            if isinstance(planned, Timeout | Failed):
                return Backfilled("unavailable", planned.reason)
            job = planned.job
            ended = wait_for(phase, phases.policy, self._switch, self._filling, job)
            if ended is None:
                return Backfilled("running", job=job)
            if isinstance(ended, Timeout | Failed):
                return Backfilled("unavailable", ended.reason, job)
            return Backfilled("ended", "" if ended.state == "done" else f"job {job.id} is {ended.state}", ended)


def reserve_of(policy: SLAPolicy) -> float:
    """Return the seconds of the whole that are kept for reading what backfill has brought."""
    total = policy.total_deadline
    return 0.0 if total is None else min(_RESERVE_S, _RESERVE_SHARE * total)


def ask_for(
    phase: PhaseRun, filling: Filling, request: BackfillRequest
) -> Planned | BackfillRejected | Timeout | Failed:
    """Have history fetched; a refusal is an answer."""

    def ask() -> Planned | BackfillRejected:
        try:
            return filling.request(request)
        except BackfillRejected as error:
            return error

    return phase.retry(ask, CoordinatorUnavailable)


def wait_for(
    phase: PhaseRun, policy: SLAPolicy, switch: Switch, filling: Filling, job: JobStatus
) -> JobStatus | Timeout | Failed | None:
    """Return a job when it has ended; None if it has not in time, and the policy goes on without."""
    pauses, told, name = Backoff(*_PAUSES_S), False, job.id
    while job.state not in ENDED:
        if phase.is_over() and not told:
            phase.give_up(f"job {name} is {job.state}, {job.ratio:.0%} of it done")
            told = True
            if policy.on_violation != "hold":
                return None
        left, pause = phase.left(), pauses.next()
        switch.pause(pause if left is None else min(pause, left))
        if left is not None and pause >= left:
            continue
        looked = phase.retry(lambda: filling.job(name), CoordinatorUnavailable)
        if isinstance(looked, Timeout | Failed):
            return looked
        job = looked
    return job
