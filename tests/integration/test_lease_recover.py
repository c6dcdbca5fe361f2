"""`scripts/lease_recover.py` as an operator runs it, against shards that a hand has left in every state."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from coordinator.cursor import Cursor
from coordinator.local import LocalBackfillCoordinator
from coordinator.queue_offsets import worker_group
from coordinator.shards import Progress, Shard, ShardState
from streams.clients import admin_config, consumer_config
from streams.clock import now_ms
from tests.support.backfills import job_of, shard_of
from tests.support.hand_worker import HandWorker
from tests.support.progress import until
from tests.support.serving import serving
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SCRIPT = Path(__file__).parents[2] / "scripts" / "lease_recover.py"
COLONS = "shard-with:several:colons"


@pytest.fixture
def made(stack: Any, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=3)
    yield made
    made.registry.close()


@pytest.fixture
def hand(made: World) -> Iterator[HandWorker]:
    hand = HandWorker(made)
    yield hand
    hand.close()


def recover(made: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments, "--config", str(made.config)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


def answer(made: World, *arguments: str) -> Any:
    done = recover(made, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def queue_up(hand: HandWorker, *shards: Shard) -> None:
    """Write a job and its shards, as a request does."""
    for shard in shards:
        hand.say(shard, Progress(shard, at=now_ms()))
    hand.say(job_of("job-a", *shards))


def running(shard: Shard, **changes: Any) -> Progress:
    cursor = Cursor(shard.id, shard.epoch, 1, 2, "there", rows=20).encode()
    plain = Progress(
        shard, ShardState.RUNNING, 1, 2, 0, "member-x", "far:7", 4, cursor, 20, started_at=now_ms(), at=now_ms()
    )
    return replace(plain, **changes)


def state_of(made: World, shard: str) -> ShardState:
    coordinator = LocalBackfillCoordinator(made.settings)
    try:
        return coordinator.shard(shard).state
    finally:
        coordinator.close()


def test_a_lease_is_listed_when_it_stalls_and_released_only_when_told_so(made: World, hand: HandWorker) -> None:
    quiet, busy = shard_of("quiet", id=COLONS, partition=1), shard_of("busy", hour=1, partition=2)
    queue_up(hand, quiet, busy)
    hand.say(running(quiet, at=now_ms() - 3_600_000), running(busy))
    assert [x["shard"] for x in answer(made, "list")] == [COLONS]
    assert {x["shard"] for x in answer(made, "list", "--all")} == {COLONS, busy.id}
    text = recover(made, "list").stdout
    assert COLONS in text
    assert "stalled" in text

    dry = answer(made, "release", "1")
    assert dry["done"] is False
    assert dry["before"] == dry["after"] | {"seconds_since_progress": dry["before"]["seconds_since_progress"]}
    shown = recover(made, "release", "1").stdout
    assert "Nothing was done" in shown

    # Nobody works here: the order is given, and that nobody answered it is said.
    asked = recover(made, "release", "1", "--yes", "--wait", "0.2", "--reason", "it: hangs")
    assert asked.returncode == 1
    assert "Nobody has claimed it anew" in asked.stderr
    with_order = LocalBackfillCoordinator(made.settings)
    with with_order.reading() as view:
        order = view.order(COLONS)
    with_order.close()
    assert order is not None
    assert (order.order.value, order.attempt, order.reason) == ("release", 1, "it: hangs")

    # A worker claims it anew.
    hand.say(running(quiet, attempt=2, member="member-y", host="near:8"))
    again = answer(made, "list", "--all")
    assert {(x["shard"], x["attempt"]) for x in again} == {(COLONS, 2), (busy.id, 1)}

    none = recover(made, "release", "0")
    assert none.returncode == 2
    assert "no shard of partition 0 of the ordinary queue runs" in none.stderr


def test_a_shard_is_skipped_and_queued_again_by_its_name_whatever_that_holds(made: World, hand: HandWorker) -> None:
    parked = shard_of("parked", id=COLONS)
    queue_up(hand, parked)
    hand.say(replace(running(parked), state=ShardState.PARKED))
    assert answer(made, "skip", COLONS)["done"] is False
    assert state_of(made, COLONS) is ShardState.PARKED
    skipped = answer(made, "skip", COLONS, "--yes", "--reason", "not: needed")
    assert (skipped["before"]["state"], skipped["after"]["state"]) == ("parked", "skipped")

    assert answer(made, "retry", COLONS)["done"] is False
    assert state_of(made, COLONS) is ShardState.SKIPPED
    retried = answer(made, "retry", COLONS, "--yes")
    assert (retried["before"]["state"], retried["after"]["state"]) == ("skipped", "pending")
    assert retried["after"]["epoch"] == retried["before"]["epoch"] + 1

    refused = recover(made, "retry", COLONS, "--yes")
    assert refused.returncode == 2
    assert "only what failed, was skipped or was cancelled" in refused.stderr


def test_it_works_through_the_service_with_a_token_that_holds_colons(made: World, hand: HandWorker) -> None:
    token = "Bearer:of:a:to-ken"
    failed = shard_of("failed", id=COLONS)
    queue_up(hand, failed)
    hand.say(replace(running(failed), state=ShardState.FAILED, error="the vendor is down"))
    coordinator = LocalBackfillCoordinator(made.settings)
    with serving(coordinator, made.settings, token=token) as service:
        wrong = recover(made, "retry", COLONS, "--yes", "--url", service.url, "--token", "Bearer:of:another")
        assert wrong.returncode == 2, wrong.stdout
        assert "token" in wrong.stderr
        retried = answer(made, "retry", COLONS, "--yes", "--url", service.url, "--token", token)
        assert retried["after"]["state"] == "pending"
    coordinator.close()


def committed(made: World, queue: str) -> dict[int, tuple[int, str]]:
    group, wanted = worker_group(made.name), [TopicPartition(queue, p) for p in range(3)]
    admin = AdminClient(admin_config(made.settings))
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)], require_stable=True)
    found = asked[group].result().topic_partitions or []
    return {p.partition: (p.offset, p.metadata or "") for p in found if p.offset >= 0}


def test_lost_offsets_are_rebuilt_from_the_progress_topic_but_not_under_a_running_worker(
    made: World, hand: HandWorker
) -> None:
    done, half, waits, urgent = (
        shard_of("done", partition=0),
        shard_of("half", hour=1, partition=0),
        shard_of("waits", hour=2, partition=1),
        shard_of("urgent", hour=3, partition=2, urgent=True),
    )
    queue_up(hand, done, half, waits, urgent)
    hand.say(running(done, state=ShardState.DONE), running(half), running(urgent, state=ShardState.DONE))
    places = {
        (p["queue"].rsplit(".backfill.", 1)[1], p["partition"]): p for p in answer(made, "rebuild-offsets")["places"]
    }
    assert len(places) == 6
    assert all(p["lost"] for p in places.values())
    at = places["shards", 0]
    assert (at["shard"], at["cursor"]) == (half.id, running(half).cursor)
    assert at["offset"] > 0
    assert places["shards", 1]["shard"] == waits.id
    assert places["shards.urgent", 2]["shard"] is None
    assert places["shards.urgent", 2]["offset"] > 0
    assert committed(made, hand.plane.shards) == {}, "a dry run has committed"

    member = Consumer(consumer_config(made.settings, worker_group(made.name)))
    try:
        member.subscribe([hand.plane.shards])
        refusals: list[subprocess.CompletedProcess[str]] = []

        def refused() -> bool:
            member.poll(0.1)
            if not member.assignment():
                return False
            refusals.append(recover(made, "rebuild-offsets", "--yes"))
            return refusals[-1].returncode == 2

        until(refused, 60, "a refusal while a worker is a member")
        assert "has 1 members" in refusals[-1].stderr
    finally:
        member.close()
    assert committed(made, hand.plane.shards) == {}

    until(lambda: recover(made, "rebuild-offsets", "--yes").returncode == 0, 60, "the rebuilding of offsets")
    found = committed(made, hand.plane.shards)
    assert found[0] == (at["offset"], running(half).cursor)
    assert found[1][0] == places["shards", 1]["offset"]
    assert committed(made, hand.plane.urgent)[2] == (places["shards.urgent", 2]["offset"], "")
    # What is there is left alone.
    hand.say(running(half, state=ShardState.DONE, attempt=2))
    assert not any(p["lost"] for p in answer(made, "rebuild-offsets", "--yes")["places"])
    assert committed(made, hand.plane.shards) == found
