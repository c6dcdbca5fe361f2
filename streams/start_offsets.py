"""Where the normalizer goes on in a raw partition: the committed offset, if what it says can be true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.clock import Deadline
from streams.errors import BrokerError, DatasetStopped
from streams.offsets import end_offsets, oldest_offsets, patiently
from streams.settings import Settings

__all__ = ["Place", "choose_start", "find_places"]

_REQUEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of one raw partition.

    Attributes:
        committed: the group's offset; negative if it has none.
        oldest, end: the offsets that the log begins and ends at.
    """

    committed: int
    oldest: int
    end: int


def find_places(
    settings: Settings, consumer: Consumer, topic: str, group: str, partitions: Sequence[int], deadline: Deadline
) -> dict[int, Place]:
    """Return what is known of partitions; waits while a transaction that commits an offset is still open.

    Raises:
        BrokerError: if Kafka does not tell within the deadline.
    """
    wanted = [TopicPartition(topic, p) for p in partitions]

    def ask() -> dict[int, int]:
        found = consumer.committed(wanted, timeout=max(1.0, min(_REQUEST_SECONDS, deadline.left())))
        for partition in found:
            if partition.error is not None:
                raise KafkaException(partition.error)
        return {p.partition: p.offset for p in found}

    what = (
        f"the committed offsets of {group} could not be read within {deadline.seconds:g} s: a transaction may be open, "
        "or the broker down; raise seamless.normalizer.restore_deadline_s or look at the broker"
    )
    committed = patiently(ask, deadline, what)
    oldest = oldest_offsets(settings, wanted, deadline=deadline)
    ends = end_offsets(settings, wanted, stable=False, deadline=deadline)
    if missing := [p for p in partitions if p not in committed]:
        raise BrokerError(f"the broker says nothing of the offsets of {group} for partitions {missing} of {topic}")
    return {p: Place(committed[p], oldest[p], ends[p]) for p in partitions}


def choose_start(
    place: Place, *, has_states: bool, accept_loss: bool, topic: str, partition: int, dataset: str, group: str
) -> int:
    """Return the offset to go on from.

    Args:
        has_states: whether rows of the partition were normalized before.
        accept_loss: begin at the oldest row where the committed offset cannot be used.

    Raises:
        DatasetStopped: if going on would lose or repeat rows.
    """
    if place.oldest <= place.committed <= place.end:
        return place.committed
    if accept_loss or (place.committed < 0 and not has_states):
        return place.oldest
    if place.committed > place.end:
        raise DatasetStopped(
            f"the group {group} has committed offset {place.committed} of {topic} partition {partition}, which ends at "
            f"{place.end}: the topic was made anew or cut off. Beginning anew may repeat rows. Start once with "
            "--accept-loss to begin at the oldest row there is"
        )
    if place.committed >= 0:
        raise DatasetStopped(
            f"rows {place.committed} to {place.oldest - 1} of {topic} partition {partition} were deleted by retention "
            "before they were normalized: start once with --accept-loss to go on without them, and lengthen "
            f"seamless.datasets.{dataset}.retention"
        )
    raise DatasetStopped(
        f"the group {group} has no offset for partition {partition} of {topic}, though rows of it were normalized: its "
        "offsets expired or were deleted. Beginning anew would repeat rows. Set the group's offset to where it was "
        "(the newest conformance report names it), or start once with --accept-loss"
    )
