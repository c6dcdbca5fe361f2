"""What backfill has written: the committed records of a history topic, with the shards that their headers name.

Reading goes up to the high watermarks as they are at the start. A reader of committed records sees only what is below
the last stable offset; so it waits out transactions that are open there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams import topics
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.offsets import end_offsets, is_hopeless, oldest_offsets
from streams.settings import Settings

__all__ = ["AS_OF_HEADER", "SHARD_HEADER", "Tag", "Written", "WrittenRows", "read_tag", "write_tag"]

SHARD_HEADER = "shard"
AS_OF_HEADER = "as_of"
_ANSWER_SECONDS = 15.0
_BATCH = 10_000
_POLL_SECONDS = 0.5

_quiet = logging.getLogger("librdkafka.reader")

Tag = tuple[str, int]
"""A shard's id and the epoch in which a row was written."""


def write_tag(shard: str, epoch: int) -> bytes:
    """Return the value of the header `shard`."""
    return f"{shard}:{epoch}".encode("ascii")


def read_tag(value: bytes | None) -> Tag | None:
    """Return what the header `shard` says; None if it says nothing that a worker would write."""
    shard, colon, epoch = (value or b"").decode("ascii", "replace").rpartition(":")
    return (shard, int(epoch)) if colon and shard and epoch.isdecimal() else None


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """Records of one tag in the order of their delivery; lists and arrays of one length.

    Attributes:
        tag: None for records that no worker tagged.
        keys: the symbols, as bytes; empty where a record has none.
    """

    tag: Tag | None
    keys: list[bytes]
    payloads: list[bytes]
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


class Written:
    """A reader of one dataset's history; a context manager.

    It holds one batch of records at a time, whatever the size of the topic.

    Attributes:
        topic: its full name.
        partitions: how many it has.
        oldest: the oldest offset of each partition: retention removed what was before.
        ends: the offsets up to which it reads.

    Raises:
        BrokerError: if Kafka does not answer, or the topic is not there.
    """

    def __init__(self, settings: Settings, dataset: str, *, patience_s: float = 30.0) -> None:
        self.topic, self._patience_s = topics.history(settings.world, dataset), patience_s
        self._consumer = Consumer(reader_config(settings), logger=_quiet)
        try:
            self.partitions = self._count()
            everything = [TopicPartition(self.topic, p) for p in range(self.partitions)]
            self.ends = end_offsets(settings, everything, stable=False, deadline=Deadline(_ANSWER_SECONDS))
            self.oldest = oldest_offsets(settings, everything, deadline=Deadline(_ANSWER_SECONDS))
        except BaseException:
            self._consumer.close()
            raise

    def rows(self, wanted: Callable[[Tag | None], bool]) -> Iterator[WrittenRows]:
        """Yield the records whose tags are wanted, from the oldest; may be called again to read again.

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
                silence = Deadline(self._patience_s)
            elif silence.passed():
                raise BrokerError(
                    f"{self.topic} could not be read to its end: nothing came for {self._patience_s:g} s (partitions "
                    f"{sorted(pending)}). A transaction may be open: wait until the workers are idle, and try again"
                )
            yield from _by_tag(records, wanted)
        self._consumer.unassign()

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close()

    def __enter__(self) -> Written:
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


def _by_tag(records: list[Message], wanted: Callable[[Tag | None], bool]) -> Iterator[WrittenRows]:
    groups: dict[bytes | None, list[Message]] = {}
    for message in records:
        groups.setdefault(_tag_bytes(message), []).append(message)
    for value, group in groups.items():
        tag = read_tag(value)
        if wanted(tag):
            yield WrittenRows(
                tag,
                [_bytes(m.key()) for m in group],
                [_bytes(m.value()) for m in group],
                np.array([m.partition() for m in group], np.int32),
                np.array([m.offset() for m in group], np.int64),
            )


def _tag_bytes(message: Message) -> bytes | None:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    found = next((value for name, value in pairs if name == SHARD_HEADER), None)
    return found.encode() if isinstance(found, str) else found


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
