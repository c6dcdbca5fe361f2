"""A worker: a member of the group whose assignments are leases. One thread polls; slots do the work beside it.

Only the thread that polls touches the consumer and decides what is ours (`coordinator.ownership`). Slots write under
the lease that they were given (`coordinator.slot`) and report how it went. Committed offsets are asked for on threads
of their own (`coordinator.openings`), as the broker may take its time. So the loop never waits for anybody: it goes on
polling, and the group does not put the process out, however long a shard takes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TypeVar

from confluent_kafka import KafkaException

from coordinator.claims_seen import ClaimsSeen
from coordinator.epoch_probe import accepts_captured_epochs
from coordinator.lease_event import LeaseChange
from coordinator.lease_events import LeaseEventWriter
from coordinator.lease_tokens import TokenCapture
from coordinator.openings import Opened, Openings
from coordinator.ownership import Action, Head, Open, Ownership, Place
from coordinator.queue_consumer import EndReached, QueueConsumer, Record
from coordinator.queue_offsets import worker_group
from coordinator.records import ControlPlane
from coordinator.retries import Backoff
from coordinator.slot import Outcome, SlotRun, SlotStalled, StopReason
from coordinator.slot_kit import Guards, SlotKit
from coordinator.worker_orders import WorkerOrders
from streams.clock import Deadline, monotonic
from streams.errors import BrokerError, SeamlessError
from streams.health import Health
from streams.lease import LeaseToken, NotAMember
from streams.log import get_logger
from streams.metrics import Metrics
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["Worker"]

log = get_logger(__name__)

Reported = TypeVar("Reported")

_BUSY_SECONDS = 0.02  # how late the loop may notice that a slot has ended
_IDLE_SECONDS = 0.2
_ANSWER_SECONDS = 60.0
_GAUGES_SECONDS = 1.0
_LAST_WORDS_SECONDS = 2.0
_LONGEST_PAUSE = 5.0


class Worker:
    """Works off shards until told to stop.

    Args:
        registry: where contracts and events are registered.
        metrics, health: what the process tells the outside.
        guards: for tests that show what each guard of a lease guards.

    Raises:
        SeamlessError: if the control plane cannot be prepared; see `ControlPlane.prepare`.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        metrics: Metrics,
        health: Health,
        *,
        guards: Guards | None = None,
    ) -> None:
        self._settings, self._metrics, self._health = settings, metrics, health
        self._limits, self._guards = settings.backfill, guards or Guards()
        self._group = worker_group(settings.world)
        self.host = f"{socket.gethostname()}:{os.getpid()}"
        self._plane = ControlPlane.prepare(settings, registry)
        self._orders = WorkerOrders(settings, self._plane)
        self._told = LeaseEventWriter(settings, self._plane)
        self._kit = SlotKit(
            settings,
            registry,
            self._plane,
            metrics,
            self._orders,
            self._told,
            host=self.host,
            guards=self._guards,
            fresh_token=self._fresh_token,
        )
        self._ownership = Ownership(self._plane.urgent, guard_positions=self._guards.positions)
        self._capture = TokenCapture()
        self._claims = ClaimsSeen(settings, self._plane, deadline_s=_ANSWER_SECONDS)
        self._opened: SimpleQueue[Opened] = SimpleQueue()
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._openings = Openings(
            settings,
            self._group,
            release=self._kit.producers.take_over,
            untouched=self._claims.untouched,
            report=self._opened.put,
            deadline_s=_ANSWER_SECONDS,
        )
        self._queues: QueueConsumer | None = None
        self._slots: dict[Place, SlotRun] = {}
        self._abandoned: list[SlotRun] = []
        self._suspects: dict[Place, SlotRun] = {}
        self._pauses: dict[Place, Backoff] = {}
        self._thrown_away: dict[Place, int] = {}
        self._leaving = False
        self._told_gauges = 0.0

    def run(self, stop: Event) -> None:
        """Work until `stop` is set; then let slots finish or leave their chunks, and leave the group.

        Raises:
            SlotStalled: if a slot got nowhere for `seamless.backfill.stall_timeout_s`.
            BrokerError: if Kafka cannot be reached for longer than the deadlines, or refuses.
        """
        self._orders.catch_up(Deadline(_ANSWER_SECONDS))
        queues = [self._plane.urgent, self._plane.shards]
        self._queues = QueueConsumer(
            self._settings, self._group, queues, name=self.host, given=self._given, taken=self._taken
        )
        Thread(target=self._try_out, name="epoch probe", daemon=True).start()
        try:
            while not stop.is_set():
                self._step(claim=True)
            self._drain()
        except KafkaException as error:
            raise BrokerError(f"Kafka refuses to go on with {self._plane.shards}: {error.args[0].str()}") from error
        finally:
            self._leave()

    # One turn of the loop ----------------------------------------------------------------------------------------

    def _step(self, *, claim: bool) -> None:
        self._health.beat()
        for event in self._live().poll(_BUSY_SECONDS if self._slots else _IDLE_SECONDS):
            match event:
                case Record():
                    self._take(event)
                case EndReached():
                    self._perform(self._ownership.end_reached(event.place, event.offset))
                case _:
                    self._perform(self._ownership.unreadable(event.place), again=True)
        self._capture_token()
        self._follow_orders()
        for outcome in _all_of(self._outcomes):
            self._slot_ended(outcome)
        for opened in _all_of(self._opened):
            self._go_on(opened)
        if claim:
            self._claim()
        self._watch_slots()
        self._tell_gauges()

    def _take(self, record: Record) -> None:
        if not self._throw_away(record.place):
            self._perform(self._ownership.delivered(record.place, self._head(record.offset, record.payload)))

    def _head(self, offset: int, payload: bytes) -> Head:
        if not self._plane.knows(payload):  # a slot asks the registry, which may keep this thread waiting
            return Head(offset, None, payload)
        try:
            return Head(offset, self._plane.decode_shard(payload), payload)
        except Exception as error:  # whatever the codec finds wrong with it
            log.warning("shard_unreadable", offset=offset, error=str(error))
            return Head(offset, None, payload)

    def _throw_away(self, place: Place) -> bool:
        """Lose a record, if a test wants to see what the position guard is for."""
        count = self._thrown_away.get(place, 0)
        self._thrown_away[place] = count + 1
        return count < self._guards.lose_polled

    def _capture_token(self) -> None:
        if not self._ownership.needs_token():
            return
        token = self._capture.polled(self._live().token())
        if token is not None:
            self._ownership.confirmed(token)

    def _follow_orders(self) -> None:
        self._orders.poll()
        for slot in self._slots.values():
            shard = slot.lease.head.shard
            if shard is not None and self._orders.released(shard, slot.attempt):
                slot.stop("released")

    def _slot_ended(self, outcome: Outcome) -> None:
        slot = self._slots.get(outcome.place)
        if slot is None or slot.lease.grant != outcome.grant:
            self._abandoned = [s for s in self._abandoned if s.lease.grant != outcome.grant]
        else:
            del self._slots[outcome.place]
            if slot.suspected:
                self._suspects[outcome.place] = slot
        if outcome.crashed is not None:
            raise outcome.crashed
        if outcome.ended:
            self._pauses.pop(outcome.place, None)
            self._perform(self._ownership.finished(outcome.place, outcome.grant))
            return
        if outcome.refused:
            self._capture.disturbed()
        asked = self._ownership.interrupted(outcome.place, outcome.grant, refused=outcome.refused)
        self._perform(asked, again=slot is None or slot.stopping is None)

    def _go_on(self, opened: Opened) -> None:
        if not self._ownership.waits_for(opened.place, opened.grant):
            return
        if opened.error is not None:
            raise opened.error
        self._suspects.pop(opened.place, None)
        self._perform(self._ownership.opened(opened.place, opened.grant, opened.offset, opened.cursor))

    def _claim(self) -> None:
        while len(self._slots) < self._limits.slots:
            lease = self._ownership.claim()
            if lease is None:
                return
            slot = SlotRun(self._kit, lease, self._outcomes.put)
            self._slots[lease.place] = slot
            slot.start()
        if self._ownership.urgent_waits():
            self._make_room()

    def _make_room(self) -> None:
        """Let an urgent shard have a slot: one that is not urgent goes on later, at its cursor."""
        if any(slot.stopping is not None for slot in self._slots.values()):
            return
        # Only one that has got somewhere, so that a shard which is made to wait is not taken for one that cannot work.
        for place, slot in self._slots.items():
            if place.queue != self._plane.urgent and slot.chunks > 0:
                slot.stop("yielded")
                return

    def _watch_slots(self) -> None:
        limit = self._limits.stall_timeout_s
        for slot in (*self._slots.values(), *self._abandoned):
            if slot.silence() > limit:
                stalled = SlotStalled(slot.lease.head.shard, slot.silence(), limit)
                slot.tell(LeaseChange.STALLED, f"silent for {slot.silence():.0f} s")
                self._told.close(_LAST_WORDS_SECONDS)
                raise stalled

    # What has to be done -----------------------------------------------------------------------------------------

    def _perform(self, actions: Iterable[Action], *, again: bool = False) -> None:
        """Do what ownership wants; `again`: after a failure, so with a pause that grows."""
        for action in actions:
            if isinstance(action, Open):
                self._openings.ask(action, self._pause_of(action.place) if again else 0.0)
            else:
                self._live().perform(action)

    def _pause_of(self, place: Place) -> float:
        return self._pauses.setdefault(place, Backoff(self._limits.retry_base_s, _LONGEST_PAUSE)).next()

    def _try_out(self) -> None:
        name = f"{self._group}.probe.{self.host.replace(':', '-')}"
        try:
            accepted = accepts_captured_epochs(self._settings, self._plane.control, name)
        except SeamlessError as error:
            log.warning("captured_epochs_unknown", error=str(error))
            return
        self._kit.captured_epochs = accepted
        log.info("captured_epochs", accepted=accepted)

    def _tell_gauges(self) -> None:
        if monotonic() - self._told_gauges < _GAUGES_SECONDS:
            return
        self._told_gauges = monotonic()
        for place in self._ownership.places():
            behind = self._ownership.behind(place, self._live().stable_end(place))
            self._metrics.lag_records.set(behind, topic=place.queue, partition=str(place.partition))

    # What the group says, within the poll -------------------------------------------------------------------------

    def _given(self, places: list[Place]) -> None:
        self._capture.disturbed()
        self._kit.producers.hold(places)
        if not self._leaving:
            self._perform(self._ownership.assigned(place) for place in places)

    def _taken(self, places: list[Place], lost: bool) -> None:
        self._capture.disturbed()
        why: StopReason = "lost" if lost else "drained" if self._leaving else "revoked"
        stopped = []
        for place in places:
            self._ownership.taken(place)
            self._pauses.pop(place, None)
            self._metrics.lag_records.remove(topic=place.queue, partition=str(place.partition))
            suspect = self._suspects.pop(place, None)
            if suspect is not None:
                suspect.stop(why)
            slot = self._slots.pop(place, None)
            if slot is not None:
                slot.stop(why)
                stopped.append(slot)
        deadline = Deadline(0.0 if lost else self._limits.revoke_deadline_s)
        # Whatever one that does not stop in time tries later is refused; its silence ends the process in the end.
        self._abandoned += [slot for slot in stopped if not slot.join(deadline.left())]
        self._kit.producers.let_go(places)

    # The end -----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        log.info("worker_draining", slots=len(self._slots))
        for slot in self._slots.values():
            slot.stop("drained")
        deadline = Deadline(self._limits.drain_deadline_s)
        while self._slots and not deadline.passed():
            self._step(claim=False)

    def _leave(self) -> None:
        """Leave the group, so that others go on at once; closing the consumer revokes what is still held."""
        self._leaving = True
        self._live().close()
        self._openings.close()
        self._orders.close()
        self._claims.close()
        self._kit.close()
        self._told.close(_LAST_WORDS_SECONDS)

    def _live(self) -> QueueConsumer:
        if self._queues is None:
            raise RuntimeError("the worker does not run")
        return self._queues

    def _fresh_token(self) -> LeaseToken:
        token = self._live().token()
        if token is None:
            raise NotAMember("the group has put this process out")
        return token


def _all_of(reports: SimpleQueue[Reported]) -> Iterator[Reported]:
    while True:
        try:
            yield reports.get_nowait()
        except Empty:
            return
