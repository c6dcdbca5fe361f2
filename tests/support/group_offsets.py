"""The offsets of a world's workers, as somebody changes them who should not."""

from __future__ import annotations

from contextlib import closing, suppress
from functools import cache

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from coordinator.openings import committed_place
from coordinator.ownership import Place
from coordinator.queue_offsets import worker_group
from streams.clients import consumer_config
from tests.support.progress import until
from tests.support.worlds import World

__all__ = ["committed_at", "forget_group", "forget_records", "set_committed"]


@cache
def _admin(bootstrap_servers: str) -> AdminClient:
    """One client for all: librdkafka may crash when one is let go while it still looks for a coordinator."""
    return AdminClient({"bootstrap.servers": bootstrap_servers})


def _admin_of(world: World) -> AdminClient:
    return _admin(world.settings.kafka.bootstrap_servers)


def committed_at(world: World, place: Place) -> tuple[int, str]:
    """Return the offset and metadata that the workers have committed, once no transaction may change them."""
    found: list[tuple[int, str]] = []

    def answered() -> bool:
        with suppress(KafkaException):
            found.append(committed_place(asker, place))
        return bool(found)

    asker = Consumer(consumer_config(world.settings, worker_group(world.name)))  # it never joins
    with closing(asker):
        until(answered, 30, f"the committed offset of {place}")
    return found[0]


def set_committed(world: World, place: Place, offset: int, metadata: str) -> None:
    """Commit an offset and metadata; no worker may run."""
    wanted = TopicPartition(place.queue, place.partition, offset, metadata=metadata)
    group = worker_group(world.name)

    def done() -> bool:
        try:
            asked = _admin_of(world).alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [wanted])])
            answers = asked[group].result().topic_partitions or []
        except KafkaException:
            return False  # the last worker has not left yet
        return all(answer.error is None for answer in answers)

    until(done, 30, f"an offset of {place} is set")


def forget_group(world: World) -> None:
    """Delete all offsets of the workers; none may run."""
    group = worker_group(world.name)

    def done() -> bool:
        try:
            _admin_of(world).delete_consumer_groups([group])[group].result()
        except KafkaException:
            return False  # the last worker has not left yet
        return True

    until(done, 30, f"{group} is deleted")


def forget_records(world: World, place: Place, before: int) -> None:
    """Delete the records of a partition before an offset, as retention does."""
    where = TopicPartition(place.queue, place.partition, before)
    for answer in _admin_of(world).delete_records([where]).values():
        answer.result(30)
