"""The queues as a member of the workers' group reads them: a thin adapter over Kafka's consumer, for one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, TopicPartition

from coordinator.ownership import Pause, Place, ReadFrom
from streams.clients import consumer_config
from streams.errors import BrokerError
from streams.lease import LeaseToken, NotAMember, read_token
from streams.log import get_logger
from streams.offsets import is_hopeless
from streams.seeking import read_from
from streams.settings import Settings

__all__ = ["EndReached", "QueueConsumer", "Record", "Unreadable"]

log = get_logger(__name__)

_BATCH = 100


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a queue."""

    place: Place
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class EndReached:
    """There is nothing between what was read last and `offset`."""

    place: Place
    offset: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """There is nothing at the place that was to be read from."""

    place: Place


class QueueConsumer:
    """Reads queues under a group; partitions that come are paused until somebody says where to read from.

    Args:
        name: of this process, as the broker's tools show it.
        given: is told of partitions that have come, within `poll`.
        taken: is told of partitions that go, within `poll` or `close`, and whether they were lost: then others may
            have them already. While it has not returned, partitions that are revoked are still ours.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        queues: Sequence[str],
        *,
        name: str,
        given: Callable[[list[Place]], None],
        taken: Callable[[list[Place], bool], None],
    ) -> None:
        self._given, self._taken = given, taken
        self._failed: Exception | None = None
        self._moved: set[Place] = set()
        config = {
            **consumer_config(settings, group),
            "client.id": name,
            # Each queue by itself is shared out evenly. The broker's default shares out the sum: with two workers it
            # was seen to give one all of the urgent queue, where there is mostly nothing to do, and the other the rest.
            "group.remote.assignor": "range",
            "enable.partition.eof": True,
            # One record of a partition is worked on at a time; what is fetched ahead of it is thrown away.
            "queued.min.messages": 1,
            "queued.max.messages.kbytes": 64,
        }
        self._consumer = Consumer(config)
        self._consumer.subscribe(
            list(queues), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, seconds: float) -> Iterator[Record | EndReached | Unreadable]:
        """Serve the group, and yield what has come, waiting so many seconds for the first of it.

        What was delivered of a partition before it was told to read from elsewhere is left out.

        Raises:
            BrokerError: if the queues cannot be read.
            Exception: whatever `given` or `taken` raised.
        """
        messages = self._consumer.consume(1, seconds)  # a call for more would wait until there is more
        if messages:
            messages += self._consumer.consume(_BATCH, 0)
        self._moved.clear()  # by now, as what is delivered follows every seek before its delivery
        if self._failed is not None:
            raise self._failed
        for message in messages:
            error, offset, value, partition = message.error(), message.offset(), message.value(), message.partition()
            place = Place(message.topic() or "", -1 if partition is None else partition)
            if place in self._moved:
                # The position guard would take it for what came after the seek, and seek again, for ever.
                continue
            if error is None:
                yield Record(place, -1 if offset is None else offset, value if isinstance(value, bytes) else b"")
            elif error.code() == KafkaError._PARTITION_EOF:
                yield EndReached(place, offset or 0)
            elif error.code() in _NOT_THERE:
                log.warning("queue_unreadable", queue=place.queue, partition=place.partition, error=error.str())
                yield Unreadable(place)
            elif is_hopeless(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise BrokerError(f"the queues of backfill cannot be read: {error.str()}")
            else:
                log.warning("consumer_error", error=error.str())

    def perform(self, action: ReadFrom | Pause) -> None:
        """Do what was decided about a partition that is assigned."""
        queue, partition = action.place
        if isinstance(action, ReadFrom):
            self._moved.add(action.place)
            read_from(self._consumer, TopicPartition(queue, partition, action.offset))
        else:
            self._consumer.pause([TopicPartition(queue, partition)])

    def token(self) -> LeaseToken | None:
        """Return the group's metadata as they are now, None while this process is no member."""
        try:
            return read_token(self._consumer.consumer_group_metadata())
        except NotAMember:
            return None

    def stable_end(self, place: Place) -> int:
        """Return the last stable offset of a partition as the latest fetch told it; negative before the first."""
        return int(self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1])

    def close(self) -> None:
        """Give all partitions back and leave the group."""
        self._consumer.close()

    # The group's callbacks: all on the thread that polls ----------------------------------------------------------

    @contextmanager
    def _failing_later(self) -> Iterator[None]:
        """An exception inside a callback would leave the assignment half changed: it is raised after the poll."""
        try:
            yield
        except Exception as error:
            self._failed = self._failed or error

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._failing_later():
            # From the beginning, but paused: where to read from is known later, and nothing is fetched until then.
            consumer.incremental_assign([TopicPartition(p.topic, p.partition, 0) for p in partitions])
            consumer.pause(partitions)
            log.info("partitions_assigned", partitions=_named(partitions))
            self._given(_places(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._let_go(consumer, partitions, lost=False)
        log.info("partitions_revoked", partitions=_named(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._let_go(consumer, partitions, lost=True)
        log.warning("partitions_lost", partitions=_named(partitions))

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        with self._failing_later():
            self._taken(_places(partitions), lost)
        with self._failing_later():
            consumer.incremental_unassign(partitions)


_NOT_THERE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


def _places(partitions: list[TopicPartition]) -> list[Place]:
    return [Place(p.topic, p.partition) for p in partitions]


def _named(partitions: list[TopicPartition]) -> list[str]:
    return [f"{p.topic}/{p.partition}" for p in partitions]
