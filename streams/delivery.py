"""Delivery of records to one topic: backpressure instead of loss, and every failure counted and told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.errors import BrokerError, SettingsError

__all__ = ["Delivery", "DeliveryFailed", "DeliveryFailure"]

_START_SECONDS = 15.0
_POLL_EVERY = 1_000

_quiet = logging.getLogger("librdkafka.producer")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # librdkafka tells every failed connection; ours are told once, with a remedy


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """A record that Kafka did not take: its key and the reason."""

    key: bytes | None
    reason: str


class DeliveryFailed(BrokerError):  # noqa: N818 - an outcome, which carries its numbers
    """Kafka did not take some records.

    Attributes:
        count: how many failed since that was last said.
        first: the first of them; None if records are only still waiting.
        waiting: how many are neither delivered nor failed.
    """

    def __init__(self, topic: str, count: int, first: DeliveryFailure | None, waiting: int) -> None:
        self.count, self.first, self.waiting = count, first, waiting
        said = []
        if first is not None:
            said.append(f"{count:,} records were not delivered to {topic}; the first: {first.reason}")
        if waiting:
            said.append(f"{waiting:,} records are still waiting to be delivered to {topic}")
        super().__init__(
            ". ".join(said) + ". Check that Kafka runs and that seamless.kafka is right, then send those rows again."
        )


class Delivery:
    """Hands records of one topic to librdkafka, and knows what became of them.

    Args:
        config: from `producer_config`.
        topic: must exist.
        on_error: is called with every failure, from within `send` and `flush`.

    Raises:
        SettingsError: if librdkafka refuses a property.
        BrokerError: if Kafka does not answer, or the topic is not there.
    """

    def __init__(
        self, config: dict[str, Any], topic: str, on_error: Callable[[DeliveryFailure], None] | None = None
    ) -> None:
        self.topic, self.sent, self.failed = topic, 0, 0
        self._on_error = on_error
        self._first: DeliveryFailure | None = None
        self._untold = 0
        # A report of each success costs a call into Python; without them, what neither waits nor failed was delivered.
        own = {"on_delivery": self._reported, "delivery.report.only.error": True}
        try:
            self._producer = Producer({**config, **own}, logger=_quiet)
        except KafkaException as error:
            raise SettingsError(
                f"Kafka's client refuses seamless.kafka.client: {error.args[0].str()}. Correct or remove it."
            ) from None
        try:
            found = self._producer.list_topics(topic, timeout=_START_SECONDS).topics.get(topic)
        except KafkaException as error:
            raise BrokerError(
                f"Kafka at {config['bootstrap.servers']} does not answer: {error.args[0].str()}. Check that it "
                "runs and that seamless.kafka is right; `seamless up` starts one."
            ) from None
        if found is None or found.error is not None:
            raise BrokerError(f"there is no topic {topic}: run `seamless topics apply`")

    @property
    def waiting(self) -> int:
        """How many records are neither delivered nor failed."""
        return len(self._producer)

    def send(
        self,
        payloads: Iterable[bytes],
        keys: Iterable[bytes | None],
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Hand records over, all with the same headers; while the queue is full, wait.

        Raises:
            BrokerError: if the producer can send no more.
        """
        poll, topic = self._producer.poll, self.topic
        # Headers are bound once: records without them take the short way.
        produce = self._producer.produce if headers is None else partial(self._producer.produce, headers=[*headers])
        for row, (payload, key) in enumerate(zip(payloads, keys, strict=True)):
            while True:
                try:
                    produce(topic, payload, key)
                    break
                except BufferError:
                    # Records that cannot be delivered fail by themselves after a while: there is room in the end.
                    poll(0.1)
                except KafkaException as error:
                    self._not_taken(error.args[0], key)
                    break
            self.sent += 1
            if row % _POLL_EVERY == 0:
                poll(0)
        poll(0)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every record was delivered or has failed, at most `timeout` seconds; None waits for the end.

        Raises:
            DeliveryFailed: if records failed since this was last said, or are still waiting.
        """
        waiting = self._producer.flush(-1 if timeout is None else timeout)
        count, first = self._untold, self._first
        self._untold, self._first = 0, None
        if count or waiting:
            raise DeliveryFailed(self.topic, count, first, waiting)

    def _not_taken(self, cause: KafkaError, key: bytes | None) -> None:
        if cause.fatal():
            raise BrokerError(
                f"nothing more can be sent to {self.topic}: {cause.str()}. Make a new producer, and send again what "
                "this one did not deliver."
            )
        self._failure(DeliveryFailure(key, cause.str()))

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            key = message.key()
            self._failure(DeliveryFailure(key.encode() if isinstance(key, str) else key, error.str()))

    def _failure(self, failure: DeliveryFailure) -> None:
        self.failed += 1
        self._untold += 1
        self._first = self._first or failure
        if self._on_error is not None:
            self._on_error(failure)
