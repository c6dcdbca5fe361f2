"""Read a topic as a `read_committed` consumer sees it, down to a digest per partition."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from numpy.typing import NDArray

from benchmarks.broker import PARTITIONS, Broker

__all__ = ["PartitionContent", "TopicContent", "read_topic"]

_HEADER_BYTES = 5
_POLL_SECONDS = 0.2
_SILENCE_SECONDS = 20.0


@dataclass(frozen=True)
class PartitionContent:
    """What one partition holds: equal content means equal keys and bodies in equal order."""

    records: int
    keys: str
    bodies: str


@dataclass(frozen=True)
class TopicContent:
    """What a topic holds.

    `append_ms` are the records' broker timestamps in milliseconds, sorted; they and the `headers` (magic
    byte and schema id) take no part in comparisons: a peer may write under another id of the same schema.
    """

    partitions: tuple[PartitionContent, ...]
    headers: frozenset[bytes] = field(compare=False)
    append_ms: NDArray[np.int64] = field(compare=False)

    @property
    def records(self) -> int:
        """Return the number of records in all partitions."""
        return sum(partition.records for partition in self.partitions)


def read_topic(broker: Broker, topic: str) -> TopicContent:
    """Read every visible record; raises KafkaException if the broker falls silent."""
    consumer = Consumer(
        {
            **broker.client,
            "group.id": "benchmark-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    headers: set[bytes] = set()
    stamps: list[NDArray[np.int64]] = []
    try:
        partitions = tuple(
            _read_partition(consumer, TopicPartition(topic, number, OFFSET_BEGINNING), headers, stamps)
            for number in range(PARTITIONS)
        )
    finally:
        consumer.close()
    return TopicContent(partitions, frozenset(headers), np.sort(np.concatenate(stamps)))


def _read_partition(
    consumer: Consumer, start: TopicPartition, headers: set[bytes], stamps: list[NDArray[np.int64]]
) -> PartitionContent:
    keys, bodies, records, ended = hashlib.blake2b(), hashlib.blake2b(), 0, False
    consumer.assign([start])
    heard = time.monotonic()
    while not ended:
        messages = consumer.consume(10_000, _POLL_SECONDS)  # waits for them all, even past the end
        if not messages:
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{start.topic} fell silent"))
            continue
        heard = time.monotonic()
        if error := messages[-1].error():
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            ended = True
            messages.pop()
        values = [message.value() or b"" for message in messages]
        headers.update({value[:_HEADER_BYTES] for value in values})
        bodies.update(b"".join([value[_HEADER_BYTES:] for value in values]))
        keys.update(b"\0".join([message.key() or b"" for message in messages] + [b""]))
        stamps.append(np.array([message.timestamp()[1] for message in messages], dtype=np.int64))
        records += len(values)
    return PartitionContent(records, keys.hexdigest(), bodies.hexdigest())
