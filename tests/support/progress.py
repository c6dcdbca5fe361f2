"""How far a world's normalizer has come, as the group's committed offsets tell it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.clock import Deadline
from streams.normalizer_job import normalizer_group
from streams.offsets import end_offsets
from tests.support.worlds import DATASET, World

__all__ = ["committed", "finished", "until"]

_LOOK_AGAIN = 0.05


def until(condition: Callable[[], bool], seconds: float, what: str, explain: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition; fail with `what` and an explanation after the deadline."""
    deadline = Deadline(seconds)
    while not condition():
        assert not deadline.passed(), f"{what} did not happen within {seconds:g} s\n{explain()}"
        time.sleep(_LOOK_AGAIN)


@cache
def _admin(bootstrap_servers: str) -> AdminClient:
    """One client for all looks: librdkafka may crash when one is let go while it still looks for a coordinator."""
    return AdminClient({"bootstrap.servers": bootstrap_servers})


def committed(world: World) -> dict[int, int]:
    """Return the committed offset of every raw partition that has one."""
    group = normalizer_group(world.name, DATASET)
    admin = _admin(world.settings.kafka.bootstrap_servers)
    wanted = [TopicPartition(world.topic("raw"), p) for p in range(world.settings.dataset(DATASET).partitions)]
    try:
        asked = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, wanted)], require_stable=True, request_timeout=5
        )
        found = asked[group].result().topic_partitions or []
    except KafkaException:
        return {}  # A transaction is open, or the group does not exist yet.
    return {p.partition: p.offset for p in found if p.offset >= 0}


def finished(world: World) -> bool:
    """Whether every raw row is committed."""
    wanted = [TopicPartition(world.topic("raw"), p) for p in range(world.settings.dataset(DATASET).partitions)]
    ends = end_offsets(world.settings, wanted, stable=True, deadline=Deadline(30))
    done = committed(world)
    return all(done.get(p, 0) >= end for p, end in ends.items())
