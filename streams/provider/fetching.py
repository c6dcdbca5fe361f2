"""One fetch: the archive first, then what Kafka has behind it, then backfill of what is missing, then live bars.

Each step is taken only if the one before left something to wish for, and each waits under the policy. What is known so
far, and what is missing of it, is in `Gathered`; how missing ranges came to be so, in `Holes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from coordinator.protocol import BackfillRejected, CoordinatorUnavailable, JobStatus
from coordinator.retries import Backoff
from streams.archive.reader import ArchiveRows, ArchiveSnapshot
from streams.errors import ArchiveUnavailable, BrokerError
from streams.provider.backfilling import ask_for, reserve_of, wait_for
from streams.provider.budget import Decision, Violated
from streams.provider.calls import Timeout
from streams.provider.filling import request_for
from streams.provider.gathered import Gathered
from streams.provider.kit import Kit
from streams.provider.phase_run import Failed, PhaseRun
from streams.provider.phases import Phases
from streams.provider.result import FetchResult, Why
from streams.provider.staleness import staleness_seconds
from streams.provider.switch import Switch
from streams.provider.tail import Tail, TailReader, Wanted
from streams.registry import RegistryUnavailable
from streams.sla_resolve import ResolvedPolicy

__all__ = ["Fetch"]

T = TypeVar("T")

_HOUR_NS = 3_600_000_000_000
_STEP_S = 1.0
_LEAST_STEP_S = 0.1
_LONGEST_PAUSE_S = 30.0


class Fetch:
    """Fetches once; for one thread.

    Args:
        live: whether Kafka is asked also if nothing is missing; False: missing bars at the edge are not waited for.
    """

    def __init__(self, kit: Kit, wanted: Wanted, resolved: ResolvedPolicy, live: bool | None) -> None:
        self._kit, self._wanted, self._live = kit, wanted, live
        self._waits_live = live is not False and resolved.policy.max_wait_live != 0 and wanted.as_of is None
        if resolved.policy.max_wait_live == 0:  # To read what is there takes time, though none is waited for.
            resolved = replace(resolved, policy=resolved.policy.model_copy(update={"max_wait_live": None}))
        self._policy, self._consumer, self._switch = resolved.policy, resolved.consumer, Switch()
        self._phases = Phases(resolved, symbols=wanted.symbols or (), around=kit.around, switch=self._switch)
        self._dataset = kit.settings.dataset(wanted.dataset)
        self._degraded: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._known = Gathered(kit.settings, wanted, self._now())

    def run(self) -> FetchResult:
        """Return what there is.

        Raises:
            SeamlessSLAExceeded, ArchiveUnavailable, BrokerError, CoordinatorUnavailable: as the policy says.
        """
        known = self._known
        with self._phases:
            self._read_archive()
            if self._needs_kafka() and not self._time_is_up():
                self._read_kafka()
            self._complete()
            self._check()
            newest = known.newest()
            report = self._phases.finish(rows=known.rows.frame.height, watermark=newest)
        return known.result(report, self._degraded, self._said)

    # The archive

    def _read_archive(self) -> None:
        wanted = self._wanted

        def read() -> tuple[ArchiveSnapshot | None, ArchiveRows | None]:
            snapshot = self._kit.archive.snapshot(wanted.dataset)
            if snapshot is None:
                return None, None
            as_of = None if wanted.as_of is None else wanted.as_of * 1_000_000
            return snapshot, snapshot.read(wanted.symbols, wanted.start, wanted.end, as_of)

        with self._phases.phase("storage_wait") as phase:
            found = phase.retry(read, ArchiveUnavailable)
            if not isinstance(found, Timeout | Failed):
                self._known.take_archive(*found)
                phase.saw(self._known.rows.frame.height, self._known.newest())
        if isinstance(found, Timeout | Failed):
            self._known.archive_away = True
            self._without("archive", found.reason)
        else:
            self._kit.degraded.answered(wanted.dataset, "archive")
        self._assess()

    # Kafka

    def _needs_kafka(self) -> bool:
        known, wanted = self._known, self._wanted
        if known.snapshot is None or known.holes or self._live:
            return True
        now = self._now()
        if wanted.as_of is not None:
            return now - wanted.as_of * 1_000_000 < _HOUR_NS
        if self._dataset.interval is None and wanted.end > now - _HOUR_NS:
            return True  # Nobody can tell how many ticks are missing.
        return self._wants_fresh()

    def _wants_fresh(self) -> bool:
        limit = self._policy.max_staleness
        if limit is None or self._wanted.as_of is not None:
            return False
        return self._wanted.end > self._now() - 2 * (self._dataset.interval_ns() or 0) - int(limit * 1e9)

    def _read_kafka(self) -> None:
        """Read both topics from where the archive, or the last look, ends."""
        with self._phases.phase("live_wait") as phase:
            starts, fixed = self._known.places()
            wanted = self._known.widened()
            found = self._lent(phase, lambda reader: reader.read(wanted, starts, fixed))
            if found is not None:
                self._take(phase, found)
        self._assess()

    def _lent(self, phase: PhaseRun, use: Callable[[TailReader], Tail]) -> Tail | None:
        """Let a reader read; None if that failed and the policy goes on without."""

        def read() -> Tail:
            with self._kit.tails.lent() as reader:
                return use(reader)

        found = phase.retry(read, (BrokerError, RegistryUnavailable), target=self._kit.target("broker"))
        if isinstance(found, Timeout | Failed):
            self._without("broker", found.reason)
            return None
        self._kit.degraded.answered(self._wanted.dataset, "broker")
        return found

    def _take(self, phase: PhaseRun, tail: Tail) -> None:
        """Hold what Kafka has against what the archive has."""
        if tail.lost:
            places = ", ".join(f"{s.topic} partition {s.partition}" for s in tail.lost)
            self._said["live_wait"] = f"retention deleted rows before they were archived: {places}"
        if not self._known.add(tail):
            return
        found = phase.retry(self._known.merge, ArchiveUnavailable, target=self._kit.target("storage"))
        if isinstance(found, Timeout | Failed):
            self._without("archive", found.reason)
        else:
            self._known.rows = found
            phase.saw(tail.frame.height, self._known.newest())

    # Backfill

    def _complete(self) -> None:
        """Have what is missing fetched, and wait for what may still come."""
        known = self._known
        if known.past():
            why = self._why_not()
            known.why = why or known.why
            if why is None and self._fetched():
                self._read_kafka()
        self._wait_live()

    def _why_not(self) -> Why | None:
        """Return why nothing can be fetched; None if it can."""
        dataset, known = self._wanted.dataset, self._known
        if known.archive_away:
            return "archive_unavailable"
        if "broker" in self._degraded:  # Kafka may have all that seems to be missing.
            return "broker_unavailable"
        if self._wanted.as_of is not None:
            return "known_then"
        if self._dataset.source is None:
            self._said["backfill_wait"] = f'{dataset} has no source: seamless.datasets."{dataset}".source names one'
            return "no_source"
        return "no_time" if self._time_is_up() else None

    def _fetched(self) -> bool:
        """Have what is missing fetched; return whether anything may have come."""
        known, filling = self._known, self._kit.filling
        request = request_for(self._wanted.dataset, known.past(), requested_by=self._consumer)
        if request is None:
            return False

        known.why_detail = ""
        with self._phases.phase("backfill_wait", reserve=reserve_of(self._policy)) as phase:
            first = self._kit.storage_first(self._wanted.dataset, phase.left())
            if first is not None:
                phase.leave_out(first)
                known.why, known.why_detail = "coordinator_unavailable", first
                self._without("coordinator", first)
                return False
            planned = ask_for(phase, filling, request)
            if isinstance(planned, BackfillRejected):
                known.why, known.why_detail = "rejected", str(planned)
                self._said["backfill_wait"] = str(planned)
                return False
            if isinstance(planned, Timeout | Failed):
                known.why = "coordinator_unavailable"
                self._without("coordinator", planned.reason)
                return False
            self._kit.degraded.answered(self._wanted.dataset, "coordinator")
            known.why = "running"
            job = wait_for(phase, self._policy, self._switch, filling, planned.job)
            if isinstance(job, Timeout | Failed):
                self._without("coordinator", job.reason)
                return True
            if job is None:
                return True
            known.why = "source_has_none"
            if job.state != "done":
                self._failed(phase, job)
        return True

    def _failed(self, phase: PhaseRun, job: JobStatus) -> None:
        known = self._known
        found = phase.retry(lambda: self._kit.filling.failures(job.id), CoordinatorUnavailable)
        known.failures = [] if isinstance(found, Timeout | Failed) else found
        first = f": {known.failures[0][2]}" if known.failures else ""
        self._said["backfill_wait"] = f"job {job.id} is {job.state}{first}"
        known.failed_job = f"job {job.id} is {job.state}"

    # Live bars

    def _wait_live(self) -> None:
        known = self._known
        if not self._waits_live or "broker" in self._degraded or self._time_is_up() or not known.awaited():
            return
        with self._phases.phase("live_wait") as phase:
            told = False
            while known.awaited():
                left = phase.left()
                if left is not None and left < _LEAST_STEP_S:
                    self._switch.pause(left)
                if phase.is_over() and not told:
                    phase.give_up(f"{known.named_edge()} has not come")
                    told = True
                    if self._policy.on_violation != "hold":
                        break
                step = _STEP_S if left is None else min(_STEP_S, left / 2)
                if not self._followed(phase, step):
                    break

    def _followed(self, phase: PhaseRun, seconds: float) -> bool:
        """Look for rows that come; return whether it is worth looking again."""
        starts, fixed = self._known.places()
        if starts is None or fixed is None:
            return False
        wanted = self._known.widened()
        found = self._lent(phase, lambda reader: reader.follow(wanted, starts, fixed, seconds))
        if found is None:
            return False
        self._take(phase, found)
        self._known.look(self._now())
        return True

    # What is judged

    def _check(self) -> None:
        known = self._known
        self._held_until(lambda: self._phases.check_coverage(known.ratio, known.missing()))
        if self._wants_fresh():
            self._held_until(self._check_age)

    def _check_age(self) -> Decision:
        with self._phases.phase("storage_wait") as phase:
            found = phase.retry(self._known.newest_live, ArchiveUnavailable)
        newest = None if isinstance(found, Timeout | Failed) else found
        age = staleness_seconds(
            self._wanted.start - 1 if newest is None else newest,
            self._now(),
            interval_ns=self._dataset.interval_ns(),
            calendar=self._dataset.calendar,
        )
        return self._phases.check_staleness(age, watermark=newest)

    def _held_until(self, check: Callable[[], Decision]) -> None:
        """Check, and where the policy holds look again until it is well."""
        pauses = Backoff(self._policy.retry_backoff, _LONGEST_PAUSE_S)
        while isinstance(decision := check(), Violated) and decision.action == "hold":
            self._switch.pause(pauses.next())
            self._known.look(self._now())
            self._read_kafka()
            self._complete()

    # Both

    def _assess(self) -> None:
        self._known.look(self._now())
        self._phases.lacks(self._known.missing())

    def _time_is_up(self) -> bool:
        return self._policy.on_violation != "hold" and self._phases.left() == 0

    def _without(self, what: str, reason: str) -> None:
        self._degraded[what] = reason
        self._kit.degraded.without(self._wanted.dataset, what, reason)

    def _now(self) -> int:
        return int(self._kit.around.wall().timestamp() * 1e9)
