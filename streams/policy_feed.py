"""The governance topic as processes follow it: read in full at the start, and then as often as they like."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from streams import topics
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.log import get_logger
from streams.offsets import is_hopeless
from streams.registry import Registry
from streams.schema_policy import SchemaPolicy, policy_from_settings
from streams.settings import Settings

__all__ = ["PolicyFeed"]

log = get_logger(__name__)

_START_SECONDS = 30.0
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


class PolicyFeed:
    """The policies of a world's datasets, as they are set. Not to be shared between threads.

    Raises:
        RegistryError: if the topic's subject is not registered.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._topic = settings, topics.schema_governance(settings.world)
        self._codec = EventCodec(registry, self._topic, "schema_governance")
        self._set: dict[str, SchemaPolicy] = {}
        self._reader: Consumer | None = None
        self._at_end = False

    def open(self, seconds: float = _START_SECONDS) -> None:
        """Read what is set now; rows must not be judged in ignorance of it.

        Raises:
            BrokerError: if the topic is not there, or its end was not reached in time.
        """
        if self._reader is None:
            self._reader = Consumer(reader_config(self._settings))
            self._reader.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        deadline = Deadline(seconds)
        while not self._at_end:
            if deadline.passed():
                raise BrokerError(f"{self._topic} could not be read to its end within {seconds:g} s: is the broker up?")
            self.poll(0.2)

    def poll(self, seconds: float = 0.0) -> None:
        """Take in what has come, waiting at most so long for it; while the broker is away nothing changes.

        Raises:
            BrokerError: if reading cannot go on.
        """
        if self._reader is None:
            return
        for message in self._reader.consume(1_000, seconds):
            error = message.error()
            if error is None:
                self._take(message.key(), message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                self._at_end = True
            elif error.code() in _GONE:
                raise BrokerError(f"there is no topic {self._topic}: run `seamless topics apply`")
            elif is_hopeless(error) or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise BrokerError(f"{self._topic} cannot be read: {error.str()}")

    def policy(self, dataset: str) -> SchemaPolicy:
        """Return what is in force for a dataset: what was set last, else what the settings say."""
        return self._set.get(dataset) or policy_from_settings(self._settings, dataset)

    def close(self) -> None:
        """Let go of Kafka; a second call does nothing."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        dataset = (key or b"").decode(errors="replace")
        if value is None:
            self._set.pop(dataset, None)
            return
        try:
            self._set[dataset] = SchemaPolicy.from_avro(self._codec.decode(value))
        except Exception as error:  # of another release, perhaps: what was in force stays
            log.warning("policy_unreadable", dataset=dataset, error=f"{type(error).__name__}: {error}")
