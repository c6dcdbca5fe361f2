"""The offsets of the workers' group, computed anew from the progress topic after the group lost them.

A group that stays empty for a week loses its offsets (`offsets.retention.minutes`). What they said stands in the
progress topic, too: which shards have ended, and the cursor of the one that has not. Shards of a partition are worked
on one after the other, so it goes on at the first that has not ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from coordinator.records import ControlPlane
from coordinator.shards import Progress, Shard
from coordinator.topic_reader import TopicReader
from streams.clients import admin_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.offsets import patiently
from streams.settings import Settings

__all__ = ["QueuePlace", "Queued", "commit_places", "places_of", "read_places", "worker_group"]

_ANSWER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Queued:
    """A record of a queue; `shard` is None if it cannot be read."""

    offset: int
    shard: Shard | None


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a partition of a queue goes on.

    Attributes:
        committed: what the group has committed; None if nothing.
        offset, cursor: where it should go on, and the cursor that belongs into the offset's metadata.
        shard: the id of the shard there; None if there is none yet.
        skipped: ids of shards before it that have not ended: nobody works on them any more.
    """

    queue: str
    partition: int
    committed: int | None
    offset: int
    cursor: str = ""
    shard: str | None = None
    skipped: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether the group has no offset for it, and needs one."""
        return self.committed is None


def worker_group(world: str) -> str:
    """Return the group that workers are members of."""
    return f"{world}.backfill"


def places_of(
    queue: str,
    partition: int,
    records: Sequence[Queued],
    end: int,
    progress: Callable[[str], Progress | None],
    committed: int | None,
) -> QueuePlace:
    """Decide where a partition goes on: at the first shard behind the last one that has ended.

    Args:
        records: those of the partition, in the order of their offsets.
        end: the offset behind the last of them.
        progress: the newest record about a shard.
    """
    ended = [at for at, record in enumerate(records) if _ended(record, progress)]
    after = ended[-1] + 1 if ended else 0
    skipped = tuple(r.shard.id for r in records[:after] if r.shard is not None and not _ended(r, progress))
    # What cannot be read has no progress. In front, a worker has yet to bury it.
    if after == len(records):
        return QueuePlace(queue, partition, committed, end, skipped=skipped)
    head = records[after]
    known = progress(head.shard.id) if head.shard is not None else None
    begun = known is not None and head.shard is not None and known.shard.epoch == head.shard.epoch
    cursor = known.cursor or "" if begun and known is not None and not known.state.ended else ""
    name = head.shard.id if head.shard is not None else None
    return QueuePlace(queue, partition, committed, head.offset, cursor, name, skipped)


def _ended(record: Queued, progress: Callable[[str], Progress | None]) -> bool:
    """Whether a worker is done with a record: a shard is queued again only after it has ended."""
    if record.shard is None:
        return False
    known = progress(record.shard.id)
    if known is None or known.shard.epoch < record.shard.epoch:
        return False
    return known.shard.epoch > record.shard.epoch or known.state.ended


def read_places(
    settings: Settings, plane: ControlPlane, progress: Callable[[str], Progress | None]
) -> list[QueuePlace]:
    """Read both queues and what the group has committed, and say where each partition goes on.

    Raises:
        BrokerError: if Kafka does not answer, or workers run: then the group's offsets are theirs.
    """
    admin = AdminClient(admin_config(settings))
    group = worker_group(settings.world)
    _require_empty(admin, group)
    places = []
    for queue in (plane.urgent, plane.shards):
        with TopicReader(settings, queue) as reader:
            records = _records(reader, plane)
        committed = _committed(admin, group, [TopicPartition(queue, p) for p in range(reader.partitions)])
        for partition, end in sorted(reader.ends.items()):
            kept = committed.get(partition)
            kept = kept if kept is not None and reader.oldest[partition] <= kept <= end else None
            places.append(places_of(queue, partition, records[partition], end, progress, kept))
    return places


def commit_places(settings: Settings, places: Iterable[QueuePlace]) -> None:
    """Commit the offsets of partitions that have none; others are left alone.

    Raises:
        BrokerError: if Kafka refuses, as it does while the group has members.
    """
    lost = [TopicPartition(p.queue, p.partition, p.offset, metadata=p.cursor) for p in places if p.lost]
    if not lost:
        return
    admin, group = AdminClient(admin_config(settings)), worker_group(settings.world)
    _require_empty(admin, group)

    def alter() -> None:
        asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, lost)])
        for place in asked[group].result().topic_partitions or []:
            if place.error is not None:
                raise KafkaException(place.error)

    patiently(alter, Deadline(_ANSWER_SECONDS), f"the offsets of {group} cannot be set")


def _require_empty(admin: AdminClient, group: str) -> None:
    def members() -> int:
        try:
            found = admin.describe_consumer_groups([group], request_timeout=_ANSWER_SECONDS)[group].result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise
        return len(found.members or [])

    count = patiently(members, Deadline(_ANSWER_SECONDS), f"the members of {group} cannot be listed")
    if count:
        raise BrokerError(
            f"{group} has {count} members: while workers run, its offsets are theirs. Stop them first; one that was "
            "killed is a member until its session ends, 45 s by Kafka's default"
        )


def _committed(admin: AdminClient, group: str, wanted: list[TopicPartition]) -> dict[int, int]:
    def ask() -> dict[int, int]:
        asked = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, wanted)], require_stable=True, request_timeout=_ANSWER_SECONDS
        )
        try:
            found = asked[group].result().topic_partitions or []
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return {}
            raise
        return {p.partition: p.offset for p in found if p.error is None and p.offset >= 0}

    return patiently(ask, Deadline(_ANSWER_SECONDS), f"the offsets of {group} cannot be read")


def _records(queue: TopicReader, plane: ControlPlane) -> dict[int, list[Queued]]:
    found: dict[int, list[Queued]] = {partition: [] for partition in range(queue.partitions)}
    for batch in queue.batches():
        for message in batch:
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None:
                found[partition].append(Queued(offset, _shard(plane, message.value())))
    return found


def _shard(plane: ControlPlane, payload: str | bytes | None) -> Shard | None:
    try:
        return plane.decode_shard(payload if isinstance(payload, bytes) else b"")
    except Exception:  # whatever the codec finds wrong with it: a worker buries it
        return None
