"""The operations topic as processes follow it: read in full, and then as often as they like."""

from __future__ import annotations

from collections import deque

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from streams import topics
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.log import get_logger
from streams.offsets import is_hopeless
from streams.operating.operation import Operation
from streams.operating.standing import Standing
from streams.registry import Registry, RegistryUnavailable
from streams.settings import Settings

__all__ = ["OperationsFeed"]

log = get_logger(__name__)

_START_SECONDS = 30.0
_STEP_SECONDS = 0.2
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


class OperationsFeed:
    """What was done in a world. Not to be shared between threads.

    A record of another release, whose schema the registry cannot tell now, waits for it, and all behind it with it:
    what is in force depends on their order. One that no registry can make sense of is left out.

    Attributes:
        standing: what is in force after what was read.

    Raises:
        RegistryError: if the topic's subject is not registered.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._topic = settings, topics.operations(settings.world)
        self._codec = EventCodec(registry, self._topic, "operation")
        self.standing = Standing()
        self._unread: deque[bytes] = deque()
        self._reader: Consumer | None = None
        self._at_end = False

    def open(self, seconds: float = _START_SECONDS) -> None:
        """Read all that was done until now.

        Raises:
            BrokerError: if the topic is not there, or its end was not reached in time.
        """
        deadline = Deadline(seconds)
        while not self.begin(_STEP_SECONDS):
            if deadline.passed():
                why = "does the registry answer?" if self._unread else "is the broker up?"
                raise BrokerError(f"{self._topic} could not be read to its end within {seconds:g} s: {why}")

    def begin(self, seconds: float) -> bool:
        """Read for at most so long; return whether all that was done until then is known.

        Raises:
            BrokerError: if the topic is not there.
        """
        if self._reader is None:
            self._reader = Consumer(reader_config(self._settings))
            self._reader.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        self.poll(seconds)
        return self._at_end and not self._unread

    def poll(self, seconds: float = 0.0) -> bool:
        """Take in what has come, waiting at most so long for it; return whether there was anything.

        Raises:
            BrokerError: if reading cannot go on.
        """
        if self._reader is None:
            return False
        for message in self._reader.consume(1_000, seconds):
            error = message.error()
            if error is None:
                self._unread.append(message.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:
                self._at_end = True
            elif error.code() in _GONE:
                raise BrokerError(f"there is no topic {self._topic}: run `seamless topics apply`")
            elif is_hopeless(error) or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise BrokerError(f"{self._topic} cannot be read: {error.str()}")
        return self._take()

    def close(self) -> None:
        """Let go of Kafka; a second call does nothing."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _take(self) -> bool:
        before = len(self.standing.done)
        while self._unread:
            try:
                self.standing.take(Operation.from_avro(self._codec.decode(self._unread[0])))
            except RegistryUnavailable as error:
                log.warning("operations_wait_for_registry", error=str(error))
                break
            except Exception as error:
                log.warning("operation_unreadable", error=f"{type(error).__name__}: {error}")
            self._unread.popleft()
        return len(self.standing.done) > before
