"""What the agent writes besides states and breaches: ticks, and observations that it hands on to their partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from streams import topics
from streams.clients import producer_config
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.settings import Settings
from streams.sla.objectives import SeriesKey
from streams.sla.records import TICK

__all__ = ["Voice"]

_CLOSE_S = 2.0
# Nothing expires: what is handed on must arrive in the order of its origin, and a tick that is late says nothing wrong.
_OWN = {"message.timeout.ms": 0, "queue.buffering.max.messages": 50_000, "queue.buffering.max.kbytes": 16 * 1024}


class Voice:
    """Writes to the observations, without waiting; for one thread."""

    def __init__(self, settings: Settings, codec: EventCodec) -> None:
        self._topic, self._codec = topics.sla_observations(settings.world), codec
        self._producer = Producer({**producer_config(settings, linger_ms=0.0), **_OWN})

    def tick(self, partitions: Iterable[int], at_ms: int) -> None:
        """Tell partitions the time."""
        for partition in partitions:
            with suppress(BufferError):  # the broker is away, and time will be told again
                self._produce(None, TICK, partition, at_ms, None)

    def hand_on(self, datum: dict[str, Any], done: Callable[[], Any] | None = None) -> None:
        """Write an observation to the partition of its key; `done` is called when it has arrived.

        Raises:
            BrokerError: if there is no room for it, as the broker has been away for long.
        """
        key = str(SeriesKey(datum["dataset"], datum["consumer"], datum["phase"])).encode()
        try:
            self._produce(self._codec.encode(datum), key, -1, int(datum["at"].timestamp() * 1_000), done)
        except BufferError:
            raise BrokerError(f"{self._topic} takes no observations: look at the broker") from None

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

        self._producer.produce(self._topic, payload, key, partition, arrived, timestamp=at_ms)
