"""All committed records of a topic that are there now, batch by batch, in bounded memory.

Reading goes up to the high watermarks as they are at the start. A reader of committed records sees only what is below
the last stable offset; so it waits out transactions that are open there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.offsets import end_offsets, is_hopeless, oldest_offsets
from streams.settings import Settings

__all__ = ["TopicReader"]

_ANSWER_SECONDS = 15.0
_BATCH = 10_000
_POLL_SECONDS = 0.5

_quiet = logging.getLogger("librdkafka.reader")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # librdkafka tells every failed connection; ours are told once, with a remedy


class TopicReader:
    """Reads a topic from its oldest records to its ends of now; a context manager.

    Args:
        patience_s: how long nothing may come before the end.

    Attributes:
        topic: its full name.
        partitions: how many it has.
        oldest: the oldest offset of each partition: retention removed what was before.
        ends: the offsets up to which it reads.

    Raises:
        BrokerError: if Kafka does not answer, or the topic is not there.
    """

    def __init__(self, settings: Settings, topic: str, *, patience_s: float = 30.0) -> None:
        self.topic, self._patience_s = topic, patience_s
        self._consumer = Consumer(reader_config(settings), logger=_quiet)
        try:
            self.partitions = self._count()
            everything = [TopicPartition(topic, p) for p in range(self.partitions)]
            self.ends = end_offsets(settings, everything, stable=False, deadline=Deadline(_ANSWER_SECONDS))
            self.oldest = oldest_offsets(settings, everything, deadline=Deadline(_ANSWER_SECONDS))
        except BaseException:
            self._consumer.close()
            raise

    def batches(self) -> Iterator[list[Message]]:
        """Yield the records, those of a partition in the order of their offsets; may be called again to read again.

        Raises:
            BrokerError: if reading cannot go on, or a transaction stays open.
        """
        pending = {p for p, end in self.ends.items() if end > self.oldest[p]}
        self._consumer.assign([TopicPartition(self.topic, p, self.oldest[p]) for p in sorted(pending)])
        silence = Deadline(self._patience_s)
        while pending:
            before, messages = len(pending), self._consumer.consume(_BATCH, _POLL_SECONDS)
            records = [m for m in messages if self._take(m, pending)]
            if records or len(pending) < before:
                yield records
                silence = Deadline(self._patience_s)
            elif silence.passed():
                raise BrokerError(
                    f"{self.topic} could not be read to its end: nothing came for {self._patience_s:g} s (partitions "
                    f"{sorted(pending)}). A transaction may be open: wait until the workers are idle, and try again"
                )
        self._consumer.unassign()

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close()

    def __enter__(self) -> TopicReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, message: Message, pending: set[int]) -> bool:
        """Note how far a partition has come; return whether the message is a record to be read."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if is_hopeless(error) or error.code() in _GONE:
                raise BrokerError(f"{self.topic} cannot be read: {error.str()}")
            return False  # The broker is away for a while; silence tells when it is too long.
        if partition is None or offset is None or partition not in pending:
            return False
        end = self.ends[partition]
        # The end lies behind the transactions' own marks, which are not delivered.
        if (offset if error is not None else offset + 1) >= end:
            pending.discard(partition)
        return error is None and offset < end

    def _count(self) -> int:
        try:
            found = self._consumer.list_topics(self.topic, timeout=_ANSWER_SECONDS).topics.get(self.topic)
        except KafkaException as error:
            raise BrokerError(
                f"Kafka does not answer: {error.args[0].str()}. Check that it runs and that seamless.kafka is right"
            ) from None
        if found is None or found.error is not None:
            raise BrokerError(f"there is no topic {self.topic}: run `seamless topics apply`")
        return len(found.partitions)


_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
