"""A dataset's topics as a member of the archivers' group reads them: a thin adapter over a consumer, for one thread.

The group only shares the partitions out. Where to read on is what the table says; a partition that comes is paused
until somebody has found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.archive.layout import Source
from streams.archive.steady import SteadyGuard
from streams.clients import consumer_config
from streams.errors import BrokerError
from streams.log import get_logger
from streams.raw_batch import RawBatch, gather
from streams.seeking import read_from
from streams.settings import Settings

__all__ = ["ArchiveConsumer", "archiver_group"]

log = get_logger(__name__)

_FETCHED_AHEAD = 50_000
_ENDS_S = 1.0


def archiver_group(world: str, dataset: str) -> str:
    """Return the consumer group by which archivers share a dataset."""
    return f"{world}.archiver.{dataset}"


class ArchiveConsumer:
    """Reads topics under a group, and lets no record through that does not follow the last.

    Args:
        taken: is told of partitions that go, within `poll` or `close`, and whether they were lost: then others may have
            them already. While it has not returned, partitions that are revoked are still ours.

    Attributes:
        fresh: partitions that are assigned and not read yet, as nobody has said where to begin.
        astray: whether what was to be read on is not there; then all has to `begin_anew`.
    """

    def __init__(
        self, settings: Settings, group: str, topics: Iterable[str], taken: Callable[[list[Source], bool], None]
    ) -> None:
        self._taken = taken
        self._guards = {topic: SteadyGuard() for topic in topics}
        self._failed: Exception | None = None
        self._full = False
        self.fresh: set[Source] = set()
        self.astray = False
        config = {
            **consumer_config(settings, group),
            # Each topic by itself is shared out evenly, and the same partition of both goes to the same member. The
            # broker's default shares out the sum, and may give one member all of the topic where there is little to do.
            "group.remote.assignor": "range",
            "enable.partition.eof": True,
            "queued.min.messages": _FETCHED_AHEAD,
            "queued.max.messages.kbytes": settings.archive.queued_max_kbytes,
        }
        self._consumer = Consumer(config)
        self._consumer.subscribe(
            list(self._guards), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, rows: int, seconds: float) -> list[tuple[str, RawBatch]]:
        """Serve the group, and return the records of each topic that follow those before.

        Raises:
            BrokerError: if a topic cannot be read.
            Exception: whatever `taken` raised.
        """
        delivered = self._consumer.consume(rows, seconds)
        if self._failed is not None:
            raise self._failed
        found = []
        for topic, guard in self._guards.items():
            mine = [m for m in delivered if m.topic() == topic]
            if not mine:
                continue
            batch = gather(mine, guard)
            for partition, offset in batch.seeks.items():
                log.info("position_repaired", topic=topic, partition=partition, offset=offset)
                self._seek(TopicPartition(topic, partition, offset))
            self._check(topic, batch.errors)
            if batch.messages:
                found.append((topic, batch))
        self._check("", [e for m in delivered if m.topic() not in self._guards and (e := m.error()) is not None])
        return found

    def owned(self) -> list[Source]:
        """Return the partitions that are read."""
        return [Source(topic, p) for topic, guard in self._guards.items() for p in guard.partitions()]

    def next(self, source: Source) -> int:
        """Return the offset behind the last record that was let through."""
        return self._guards[source.topic].next(source.partition)

    def begin(self, source: Source, offset: int) -> None:
        """Read a partition from an offset; it is no longer fresh."""
        self.fresh.discard(source)
        self._guards[source.topic].expect(source.partition, offset)
        where = TopicPartition(source.topic, source.partition, offset)
        read_from(self._consumer, where)
        if self._full:
            self._consumer.pause([where])

    def begin_anew(self) -> None:
        """Make every partition fresh: nothing of what was let through since their beginnings counts."""
        owned = self.owned()
        for source in owned:
            self._guards[source.topic].forget(source.partition)
        self.fresh |= set(owned)
        self.astray = False
        self._consumer.pause([TopicPartition(s.topic, s.partition) for s in owned])

    def hold(self, full: bool) -> None:
        """Stop, or go on, fetching what is read; the group is served all the same."""
        if full != self._full:
            self._full = full
            self._disturbed()
            places = [TopicPartition(s.topic, s.partition) for s in self.owned()]
            (self._consumer.pause if full else self._consumer.resume)(places)

    def behind(self) -> dict[Source, int]:
        """Return how many records each partition that is read is behind its last stable offset.

        By the latest fetch, or by what the broker says while nothing is fetched; nothing of a partition of which it
        does not say it in time.
        """
        found = {}
        for source in self.owned():
            place = TopicPartition(source.topic, source.partition)
            try:
                ends = self._consumer.get_watermark_offsets(place, timeout=_ENDS_S, cached=not self._full)
            except KafkaException as error:
                log.debug("ends_unknown", error=str(error))
                break  # the others would be waited for as long
            if ends is not None:
                found[source] = max(0, ends[1] - self.next(source))
        return found

    def tell(self, offsets: Mapping[Source, int]) -> None:
        """Commit offsets for those who look at the group; nobody here reads them."""
        places = [TopicPartition(s.topic, s.partition, offset) for s, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            log.debug("offsets_not_told", error=str(error))

    def close(self) -> None:
        """Give all partitions back and leave the group."""
        self._consumer.close()

    def _seek(self, where: TopicPartition) -> None:
        try:
            self._consumer.seek(where)
        except KafkaException:
            read_from(self._consumer, where)

    def _disturbed(self) -> None:
        for guard in self._guards.values():
            guard.disturbed()

    def _check(self, topic: str, errors: Iterable[KafkaError]) -> None:
        for error in errors:
            self._disturbed()
            if error.code() in _NOT_THERE:
                # The place to read from is gone; looking for it again finds out why.
                self.astray = True
            elif error.fatal() or error.code() in _GONE:
                raise BrokerError(f"{topic or 'a topic'} cannot be read: {error.str()}")
            else:
                log.warning("consumer_error", topic=topic, error=error.str())

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
            consumer.incremental_assign([TopicPartition(p.topic, p.partition, 0) for p in partitions])
            consumer.pause(partitions)
            self.fresh |= _sources(partitions)
        log.info("partitions_assigned", partitions=_named(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._let_go(consumer, partitions, lost=False)
        log.info("partitions_revoked", partitions=_named(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._let_go(consumer, partitions, lost=True)
        log.warning("partitions_lost", partitions=_named(partitions))

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        with self._failing_later():
            self._taken(sorted(_sources(partitions)), lost)
        with self._failing_later():
            self.fresh -= _sources(partitions)
            for partition in partitions:
                self._guards[partition.topic].forget(partition.partition)
            consumer.incremental_unassign(partitions)


_NOT_THERE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
_GONE = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
}


def _sources(partitions: Iterable[TopicPartition]) -> set[Source]:
    return {Source(p.topic, p.partition) for p in partitions}


def _named(partitions: Iterable[TopicPartition]) -> list[str]:
    return [f"{p.topic}/{p.partition}" for p in partitions]
