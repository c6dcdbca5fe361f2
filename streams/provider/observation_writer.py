"""Observations to Kafka, as Avro under their registered subject; a reader never waits for it and never fails by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from streams import topics
from streams.clients import producer_config
from streams.clock import now
from streams.events import EventCodec
from streams.metrics import Metrics
from streams.provider.observation_queue import ObservationQueue
from streams.provider.observations import Observation
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.prefold import Prefolder
from streams.sla.verdict import nanos

__all__ = ["ObservationWriter"]

EVENT = "sla_observation"

_LINGER_MS = 100.0
_CLOSE_S = 2.0
# What was not delivered by then is of no use any more: alerts look at the last minutes.
_OWN = {"message.timeout.ms": 60_000, "queue.buffering.max.messages": 20_000, "queue.buffering.max.kbytes": 16 * 1024}
_FULL_POLLS, _FULL_POLL_S = 10, 0.1


class ObservationWriter:
    """Writes observations to `{world}.sla.observations`; an observer of `Phases`, and a context manager.

    Registry and broker are met at the first observation, on a thread of its own. Where they are away, or the schema is
    not registered, observations wait, and are dropped when there are too many; a metric counts them.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        dropped = (metrics or Metrics(settings.world)).sla_observations_dropped
        self._queue = ObservationQueue(
            lambda undelivered: _KafkaSink(settings, undelivered),
            lambda reason, count: dropped.add(count, reason=reason),
        )

    @property
    def waiting(self) -> int:
        """How many are neither delivered nor dropped."""
        return self._queue.waiting

    def write(self, told: Observation) -> None:
        """Take an observation, or drop it; returns at once."""
        self._queue.write(told)

    def close(self, seconds: float = _CLOSE_S) -> None:
        """Wait so long at most for what is on its way, and take no more."""
        self._queue.close(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _KafkaSink:
    """A producer of observations, which adds up those that are too many of one key and second.

    Raises:
        RegistryError: if the registry is away, or the schema is not registered.
    """

    def __init__(self, settings: Settings, undelivered: Callable[[int], None]) -> None:
        self._topic, self._undelivered = topics.sla_observations(settings.world), undelivered
        with Registry(settings.registry) as registry:
            self._codec = EventCodec(registry, self._topic, EVENT)
        config = producer_config(settings, linger_ms=_LINGER_MS, compression="lz4")
        self._producer = Producer({**config, **_OWN, "delivery.report.only.error": True})
        self._folded = Prefolder()

    @property
    def waiting(self) -> int:
        return len(self._producer) + len(self._folded)

    def send(self, told: Observation) -> None:
        single = self._folded.add(told)
        if single is not None:
            self._send(single)

    def _send(self, told: Observation) -> None:
        count = 1 if told.fold is None else told.fold.count
        payload = self._codec.encode(told.datum())
        key, at_ms = told.objective.encode(), int(told.at.timestamp() * 1_000)
        for _ in range(_FULL_POLLS):
            try:
                self._producer.produce(
                    self._topic, payload, key, timestamp=at_ms, on_delivery=partial(self._reported, count)
                )
            except BufferError:
                self._producer.poll(_FULL_POLL_S)
            else:
                self._producer.poll(0)
                return
        self._undelivered(count)

    def poll(self, seconds: float) -> None:
        for told in self._folded.take(nanos(now())):
            self._send(told)
        self._producer.poll(seconds)

    def close(self, seconds: float) -> None:
        for told in self._folded.take():
            self._send(told)
        if self._producer.flush(seconds):
            self._producer.purge()
            self._producer.flush(_FULL_POLL_S)  # hears that they were given up

    def _reported(self, count: int, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._undelivered(count)
