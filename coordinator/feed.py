"""The feed: reads the topics of the control plane into a view and keeps it current, on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from coordinator.protocol import CoordinatorUnavailable
from coordinator.records import ControlPlane, Event
from coordinator.view import View
from coordinator.watching import Watch
from streams.clients import admin_config, reader_config
from streams.clock import Deadline, monotonic
from streams.errors import BrokerError
from streams.log import get_logger
from streams.offsets import connect, is_hopeless, patiently
from streams.registry import RegistryUnavailable
from streams.settings import Settings

__all__ = ["Feed", "HeldUp"]

log = get_logger("coordinator")

Place = tuple[str, int]

_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_POLL_SECONDS = 0.1
_BATCH = 5_000
_SLICE = 500  # records applied between two looks at who else wants the view
_PULSE_SECONDS = 1.0
_FRESH_SECONDS = 3.0
_REGISTRY_SECONDS = 0.5
_REQUEST_SECONDS = 5.0


class HeldUp(BrokerError):  # noqa: N818 - named for the state, as callers wait for its end
    """What was committed cannot be read yet, as a transaction is open before it."""


class Feed:
    """A view that follows the topics. Any thread may use it; `close` ends its own.

    Args:
        leases: whether to read the log of leases too, from now on, so that watchers hear of it.
    """

    def __init__(self, settings: Settings, plane: ControlPlane, *, leases: bool = False) -> None:
        self._settings, self._plane = settings, plane
        self._places = [
            TopicPartition(t, p) for t in (plane.progress, plane.control) for p in range(plane.partitions[t])
        ]
        self._log = [TopicPartition(plane.leases, p) for p in range(plane.partitions[plane.leases]) if leases]
        self._view = View()
        self._changed = threading.Condition(threading.RLock())
        self._reached: dict[Place, int] = {(p.topic, p.partition): 0 for p in self._places}
        self._watches: list[Watch] = []
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._fresh_at: float | None = None  # None before it was caught up for the first time
        self._stuck = False
        self._version = 0
        self._admin, self._connected = AdminClient(admin_config(settings)), False
        self._thread = threading.Thread(target=self._follow, name="backfill-feed", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether it cannot read any more, and has to be replaced."""
        return self._failure is not None

    @contextmanager
    def reading(self) -> Iterator[View]:
        """Hold the view still while the block looks at it; keep such blocks short."""
        with self._changed:
            yield self._view

    def catch_up(self, deadline: Deadline, *, stable: bool = False) -> None:
        """Wait until the view holds all that was committed before this call.

        It reads up to the high watermarks as they are now: what was committed behind an open transaction can be read
        only when that has ended, so its end is waited for.

        Args:
            stable: read up to the last stable offsets only, which waits for nobody and may leave out the latest.

        Raises:
            HeldUp: if a transaction was open for all the time.
            BrokerError: if it could not be done in time for another reason.
        """
        asked = monotonic()
        what = "the ends of the control topics cannot be found (`seamless topics apply` makes missing topics)"
        ends = patiently(lambda: self._ends(stable), deadline, what)
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._failure or self._stop.is_set() or not self._behind(ends), deadline.left()
            )
            if self._failure is not None or self._stop.is_set():
                raise BrokerError(f"the control topics are no longer read: {self._failure or 'closed'}")
            if not done:
                what = (
                    f"{', '.join(sorted({t for t, _ in self._behind(ends)}))} could not be read to the end within "
                    f"{deadline.seconds:g} s"
                )
                if self._stuck:
                    raise BrokerError(f"{what}: the registry does not answer")
                raise HeldUp(f"{what}: a transaction may be open; look at the broker")
            self._fresh(asked)

    def current(self, deadline: Deadline) -> None:
        """Make sure that the view is no older than a few seconds: cheap while Kafka answers the feed.

        Raises:
            BrokerError: if that could not be done in time.
        """
        fresh = self._fresh_at is not None and monotonic() - self._fresh_at < _FRESH_SECONDS
        if not fresh or self._stuck or self._failure is not None:
            # A replica that died while it wrote must not keep all others from answering.
            self.catch_up(deadline, stable=True)

    def watch(self, job: str | None = None) -> Watch:
        """Return the changes from now on; those of one job, or all."""
        with self._changed:
            watch = Watch(self._view, job, self._unwatch)
            self._watches.append(watch)
            if self._failure is not None:
                watch.fail(_ended(self._failure))
            return watch

    def wait(self, version: int, timeout: float) -> int:
        """Wait until the view is another than at `version`, at most `timeout` seconds; return its version."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version or self._stop.is_set(), timeout)
            return self._version

    def close(self) -> None:
        """Stop following and end all watches; a second call does nothing."""
        self._stop.set()
        with self._changed:
            watches = list(self._watches)
            self._changed.notify_all()
        for watch in watches:
            watch.close()
        self._thread.join()

    def _unwatch(self, watch: Watch) -> None:
        with self._changed:
            if watch in self._watches:
                self._watches.remove(watch)

    def _fresh(self, at: float) -> None:
        self._fresh_at = at if self._fresh_at is None else max(self._fresh_at, at)

    def _behind(self, ends: dict[Place, int]) -> list[Place]:
        return [place for place, end in ends.items() if self._reached[place] < end]

    def _ask(self, places: list[TopicPartition], seconds: float, *, stable: bool) -> dict[TopicPartition, Future[Any]]:
        isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        asked: dict[TopicPartition, Future[Any]] = self._admin.list_offsets(
            dict.fromkeys(places, _LATEST), isolation_level=isolation, request_timeout=seconds
        )
        return asked

    def _ends(self, stable: bool) -> dict[Place, int]:
        if not self._connected:
            for topic in dict.fromkeys(place.topic for place in self._places):
                connect(self._admin, topic)
            self._connected = True
        asked = self._ask(self._places, _REQUEST_SECONDS, stable=stable)
        wait(asked.values())  # a client that is let go while it waits for answers may crash
        try:
            return {(p.topic, p.partition): int(f.result().offset) for p, f in asked.items()}
        except KafkaException:
            # After a broker came back, the client may ask as if nothing had happened and be refused for minutes
            # (FENCED_LEADER_EPOCH): it has to be told to look at the topics anew.
            self._connected = False
            raise

    def _follow(self) -> None:
        try:
            consumer = Consumer(reader_config(self._settings))
            try:
                whole = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in self._places]
                consumer.assign(whole + [TopicPartition(p.topic, p.partition, OFFSET_END) for p in self._log])
                self._read(consumer)
            finally:
                consumer.close()
        except Exception as error:
            log.error("seamless.backfill.feed_ended", error=str(error))
            with self._changed:
                self._failure = error
                self._changed.notify_all()
                for watch in self._watches:
                    watch.fail(_ended(error))

    def _read(self, consumer: Consumer) -> None:
        pulse: Future[Any] | None = None
        pulsed = float("-inf")
        while not self._stop.is_set():
            first = consumer.poll(_POLL_SECONDS)
            # What has arrived beside the first; waiting for more would delay it.
            messages = [] if first is None else [first, *consumer.consume(_BATCH, 0)]
            for at in range(0, len(messages), _SLICE):
                self._take(consumer, messages[at : at + _SLICE])
            if pulse is not None and pulse.done():
                if pulse.exception() is None and self._fresh_at is not None:
                    self._fresh(pulsed)
                pulse = None
            if pulse is None and monotonic() - pulsed > _PULSE_SECONDS:
                pulsed = monotonic()
                (pulse,) = self._ask(self._places[:1], _FRESH_SECONDS, stable=True).values()
        if pulse is not None:
            wait([pulse])

    def _take(self, consumer: Consumer, messages: list[Any]) -> None:
        found: list[Event] = []
        reached: dict[Place, int] = {}
        for message in messages:
            place, error = (message.topic(), message.partition()), message.error()
            if error is None:
                event = self._event(message)
                if event is not None:
                    found.append(event)
                reached[place] = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # The end lies behind control records, which are not delivered.
                reached[place] = message.offset()
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                # Retention overtook us; what is read again changes nothing.
                consumer.incremental_unassign([TopicPartition(*place)])
                consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING)])
            elif is_hopeless(error):
                raise BrokerError(f"{message.topic() or 'Kafka'} cannot be read: {error.str()}")
        with self._changed:
            for event in found:
                if self._view.apply(event):
                    self._version += 1
                    for watch in self._watches:
                        watch.offer(self._view, event)
            for place, offset in reached.items():
                self._reached[place] = max(self._reached.get(place, 0), offset)
            self._changed.notify_all()

    def _event(self, message: Any) -> Event | None:
        """Return what a record says; None where it says nothing that can be read, which stops nobody."""
        where = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        if message.value() is None:
            log.info("seamless.backfill.record_deleted", **where)
            return None
        while not self._stop.is_set():
            try:
                event = self._plane.decode(message.topic(), message.value())
            except RegistryUnavailable as error:
                # Written by another release, whose schema nobody can tell us now: passing over it would be wrong.
                if not self._stuck:
                    log.warning("seamless.backfill.registry_wait", error=str(error), **where)
                self._stuck = True
                self._stop.wait(_REGISTRY_SECONDS)
            except Exception as error:
                log.warning("seamless.backfill.record_unreadable", error=f"{type(error).__name__}: {error}", **where)
                return None
            else:
                self._stuck = False
                return event
        return None


def _ended(error: Exception) -> CoordinatorUnavailable:
    return CoordinatorUnavailable(f"the control topics are no longer read: {error}")
