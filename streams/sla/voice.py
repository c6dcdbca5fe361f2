"""What the agent writes besides states and breaches: ticks, and observations that it hands on to their partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from streams import topics
from streams.clients import producer_config
from streams.events import EventCodec
from streams.settings import Settings
from streams.sla.objectives import SeriesKey
from streams.sla.records import TICK

__all__ = ["Voice"]

_CLOSE_S = 2.0
# Later than this a tick says nothing that the next ones do not say better.
_OWN = {"message.timeout.ms": 30_000, "queue.buffering.max.messages": 50_000, "queue.buffering.max.kbytes": 16 * 1024}


class Voice:
    """Writes to the observations, without waiting; for one thread."""

    def __init__(self, settings: Settings, codec: EventCodec) -> None:
        self._topic, self._codec = topics.sla_observations(settings.world), codec
        self._producer = Producer({**producer_config(settings, linger_ms=0.0), **_OWN})

    def tick(self, partitions: Iterable[int], at_ms: int) -> None:
        """Tell partitions the time."""
        for partition in partitions:
            self._produce(None, TICK, partition, at_ms, None)

    def hand_on(self, datum: dict[str, Any], done: Callable[[], Any] | None = None) -> None:
        """Write an observation to the partition of its key; `done` is called when it has arrived."""
        key = str(SeriesKey(datum["dataset"], datum["consumer"], datum["phase"])).encode()
        self._produce(self._codec.encode(datum), key, -1, int(datum["at"].timestamp() * 1_000), done)

    def listen(self) -> None:
        """Hear what has arrived."""
        self._producer.poll(0)

    def close(self) -> None:
        """Wait a little for what is on its way."""
        if self._producer.flush(_CLOSE_S):
            self._producer.purge()

    def _produce(
        self, payload: bytes | None, key: bytes, partition: int, at_ms: int, done: Callable[[], Any] | None
    ) -> None:
        def arrived(error: KafkaError | None, _: Message) -> None:
            if error is None and done is not None:
                done()

        try:
            self._producer.produce(self._topic, payload, key, partition, arrived, timestamp=at_ms)
        except BufferError:
            self._producer.poll(0)  # the broker is away; what is not written comes again, and so does time
