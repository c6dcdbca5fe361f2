"""Records that the carrier left out, read once more by ourselves."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, Message, TopicPartition

from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.offsets import is_hopeless
from streams.settings import Settings

__all__ = ["read_between"]

_BATCH = 10_000


def read_between(settings: Settings, topic: str, partition: int, start: int, end: int) -> Iterator[list[Message]]:
    """Yield the records of a partition from offset `start` up to and without `end`, those that there are.

    Raises:
        BrokerError: if Kafka does not answer in time.
    """
    deadline = Deadline(settings.sla_agent.restore_deadline_s)
    # What retention removed is gone, and that is no error here.
    reader = Consumer({**reader_config(settings), "auto.offset.reset": "earliest"})
    try:
        reader.assign([TopicPartition(topic, partition, start)])
        reached = start
        while reached < end:
            if deadline.passed():
                raise BrokerError(f"{topic} [{partition}] could not be read from {start} to {end}: look at the broker")
            found = []
            for message in reader.consume(_BATCH, min(0.5, deadline.left())):
                error, offset = message.error(), message.offset() or 0
                if error is None:
                    reached = offset + 1
                    if offset < end:
                        found.append(message)
                elif is_hopeless(error):
                    raise BrokerError(f"{topic} [{partition}] cannot be read: {error.str()}")
                else:  # the end of the log, behind a mark of a transaction; or the broker is away for a while
                    reached = max(reached, offset)
            if found:
                yield found
    finally:
        reader.close()
