"""How far a world's normalizer has come, as the group's committed offsets tell it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from confluent_kafka import Consumer, KafkaException, TopicPartition

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
def _member(bootstrap_servers: str, group: str) -> Consumer:
    """One client for all looks; it asks for the group's offsets and never joins.

    Not an AdminClient: when the broker is killed, that waits in vain for the group's coordinator ever after, and
    librdkafka 2.16 ends the whole process by an assertion when the answer comes too late.
    """
    config = {"bootstrap.servers": bootstrap_servers, "group.id": group, "isolation.level": "read_committed"}
    return Consumer({**config, "enable.auto.commit": False, "log_level": 2})


def committed(world: World) -> dict[int, int]:
    """Return the committed offset of every raw partition that has one."""
    member = _member(world.settings.kafka.bootstrap_servers, normalizer_group(world.name, DATASET))
    wanted = [TopicPartition(world.topic("raw"), p) for p in range(world.settings.dataset(DATASET).partitions)]
    try:
        found = member.committed(wanted, timeout=5)
    except KafkaException:
        return {}  # A transaction is open, or the group does not exist yet.
    return {p.partition: p.offset for p in found if p.offset >= 0}


def finished(world: World) -> bool:
    """Whether every raw row is committed."""
    wanted = [TopicPartition(world.topic("raw"), p) for p in range(world.settings.dataset(DATASET).partitions)]
    ends = end_offsets(world.settings, wanted, stable=True, deadline=Deadline(30))
    done = committed(world)
    return all(done.get(p, 0) >= end for p, end in ends.items())
