"""What a worker finds in its queue and its committed offsets: rubbish, cursors of other shards, or nothing any more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from coordinator.ownership import Place
from coordinator.protocol import JobStatus, ShardStatus
from coordinator.shards import ShardState
from operations.stack import EmbeddedStack
from streams.clients import producer_config
from tests.support.group_offsets import committed_at, forget_group, forget_records, set_committed
from tests.support.operating import Operator, bars_from, operating, sources_installed
from tests.support.progress import until
from tests.support.working import Running, working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SETTINGS = {"slots": 3, "chunk_rows": 10, "retry_base_s": 0.05, "retry_max_s": 0.1}
RECOVER = Path(__file__).parents[2] / "scripts" / "lease_recover.py"
MINUTES = 300


@pytest.fixture(scope="module")
def operator(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One world for most of this, without a worker; each test asks for symbols of its own and leaves nothing undone."""
    folder = tmp_path_factory.mktemp("leases")
    world = make_backfill_world(stack, f"leases-{uuid4().hex[:8]}", folder, shard_partitions=3, backfill=SETTINGS)
    with sources_installed(), operating(world) as operator:
        yield operator
    world.registry.close()


def begun(operator: Operator, folder: Path, symbol: str) -> tuple[JobStatus, list[ShardStatus]]:
    """Begin three shards in three partitions, and leave them at a cursor; what they wait for comes next time."""
    hurry = folder / "hurry"
    job = operator.ask(bars_from(MINUTES, batch=10, pace=0.25, hurry=hurry), [symbol], MINUTES)
    with working(operator.world):
        for shard in operator.shards(job):
            operator.until_shard(shard.id, lambda s: s.rows >= 20, "two chunks of every shard")
    hurry.touch()
    shards = operator.shards(job)
    assert len({shard.partition for shard in shards}) == len(shards) == 3
    return job, shards


def place_of(operator: Operator, shard: ShardStatus) -> Place:
    return Place(operator.plane.queue(urgent=shard.urgent), shard.partition)


def put(world: World, place: Place, payload: bytes | None) -> None:
    """Write a record to a queue that no coordinator would write."""
    producer = Producer(producer_config(world.settings))
    producer.produce(place.queue, payload, b"somebody", place.partition)
    assert producer.flush(30) == 0


def test_a_record_that_is_no_shard_is_buried_as_it_is_and_its_partition_moves_on(operator: Operator) -> None:
    world, queue = operator.world, operator.plane.shards
    poison = [b"this is no shard", None, b"\x00\x00\x00\x00\x07nor is this"]
    for partition, payload in enumerate(poison):
        put(world, Place(queue, partition), payload)
    job = operator.ask(bars_from(MINUTES), ["AAA"], MINUTES)
    with working(world):
        operator.until(job, "done")
    assert {shard.partition for shard in operator.shards(job)} == {0, 1, 2}
    buried = [message for message in world.read(operator.plane.dlq) if message.key() is None]
    assert {message.value() or b"" for message in buried} == {payload or b"" for payload in poison}
    headers = [dict(message.headers() or []) for message in buried]
    assert all((header["error"] or b"").startswith(b"the record is no BackfillShard: ") for header in headers)


def test_a_cursor_that_is_anothers_or_cannot_be_read_ends_the_shard_with_its_rows_as_they_are(
    operator: Operator, tmp_path: Path
) -> None:
    world = operator.world
    job, shards = begun(operator, tmp_path, "BBB")
    before = operator.rows("BBB")
    placed = {shard.id: committed_at(world, place_of(operator, shard)) for shard in shards}
    newer = json.dumps({**json.loads(placed[shards[1].id][1]), "v": 99})
    texts = {
        shards[0].id: (placed[shards[1].id][1], f"the committed cursor is that of {shards[1].id}"),
        shards[1].id: (newer, "a cursor of version 99 was written by another release"),
        shards[2].id: ("rubbish", "the metadata of a committed offset is no cursor: 'rubbish'"),
    }
    for shard in shards:
        set_committed(world, place_of(operator, shard), placed[shard.id][0], texts[shard.id][0])

    with working(world) as worker:
        operator.until(job, "failed")
        assert worker.value("backfill_failure_total") == 3
        letters = operator.dead()
        for shard in shards:
            failed, (text, why) = operator.coordinator.shard(shard.id), texts[shard.id]
            assert failed.state is ShardState.FAILED
            assert why in (failed.error or "")
            assert letters[shard.id].error == failed.error
            # What is known of its place stays known: a retry must not begin anew and write its rows again.
            assert letters[shard.id].cursor == text
            operator.coordinator.retry(shard.id)
            operator.until_shard(shard.id, lambda s: s.epoch == 2 and s.state is ShardState.FAILED, "the second try")
        assert operator.rows("BBB") == before


def recover(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECOVER), *arguments, "--config", str(world.config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def refusal(world: World) -> str:
    """Start a worker that is to end by itself, and return what it says."""
    run = Running(world)
    until(lambda: not run.alive, 60, "the end of a worker that has lost its place")
    assert run.error is not None
    return str(run.error)


def test_a_group_that_lost_its_offsets_stops_its_workers_until_they_are_rebuilt(
    operator: Operator, tmp_path: Path
) -> None:
    world = operator.world
    job, _ = begun(operator, tmp_path, "CCC")
    rows = operator.job(job).rows
    assert 60 <= rows < MINUTES
    forget_group(world)

    said = refusal(world)
    assert "has no offset for partition" in said
    assert "`python scripts/lease_recover.py rebuild-offsets`" in said
    assert operator.job(job).rows == rows

    rebuilt = recover(world, "rebuild-offsets", "--yes")
    assert rebuilt.returncode == 0, rebuilt.stderr
    with working(world):
        operator.until(job, "done")
    assert operator.rows("CCC") == [("CCC", minute) for minute in range(MINUTES)]


def test_a_fresh_group_begins_at_the_oldest_record_and_one_behind_the_end_is_told(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=1, backfill=SETTINGS)
    with sources_installed(), operating(made) as operator:
        place = Place(operator.plane.shards, 0)
        put(made, place, b"older than retention keeps")
        job = operator.ask(bars_from(100), ["AAA"], 100)
        forget_records(made, place, 1)
        with working(made):
            operator.until(job, "done")
        assert operator.rows() == [("AAA", minute) for minute in range(100)]
        assert made.read(operator.plane.dlq) == []

        set_committed(made, place, 1_000, "")
        said = refusal(made)
        assert "has offset 1000" in said
        assert "lease_recover.py rebuild-offsets" in said
        assert recover(made, "rebuild-offsets", "--yes").returncode == 0
        again = operator.ask(bars_from(100), ["BBB"], 100)
        with working(made):
            operator.until(again, "done")
    assert operator.rows() == [(symbol, minute) for symbol in ("AAA", "BBB") for minute in range(100)]
    made.registry.close()
