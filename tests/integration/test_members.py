"""The members of the workers' group, as the broker tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.members import Members
from operations.stack import EmbeddedStack
from tests.support.progress import until
from tests.support.working import working
from tests.support.worlds import make_backfill_world

pytestmark = pytest.mark.kafka


def test_workers_are_members_with_their_partitions_until_they_leave(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_backfill_world(stack, world, tmp_path)
    members, partitions = Members(made.settings), made.settings.topics.shard_partitions
    assert members.now() == []
    with working(made) as run:
        until(lambda: len(members.now()) == 1 and members.now()[0].places, 30, "one member with partitions")
        (member,) = members.now()
        assert member.host == run.worker.host
        assert len(member.places) == 2 * partitions
        assert {place.queue for place in member.places} == {
            f"{world}.backfill.shards",
            f"{world}.backfill.shards.urgent",
        }
    until(lambda: not members.now(), 30, "no member")
    made.registry.close()
