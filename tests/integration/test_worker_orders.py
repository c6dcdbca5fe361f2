"""Orders of an operator, while a shard runs and before a worker is there to hear them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from coordinator.lease_event import LeaseChange
from coordinator.protocol import JobStatus
from coordinator.shards import ShardState
from operations.stack import EmbeddedStack
from tests.support.operating import Operator, bars_from, minutes_of, operating, sources_installed
from tests.support.working import Running, working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

RETRIES = 1
SETTINGS = {"slots": 2, "chunk_rows": 10, "retries": RETRIES, "retry_base_s": 0.05, "retry_max_s": 0.1}
MINUTES = 90


@pytest.fixture(scope="module")
def shared(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, Running]]:
    """One world and one worker for most of this; each test asks for symbols of its own."""
    folder = tmp_path_factory.mktemp("orders")
    world = make_backfill_world(stack, f"orders-{uuid4().hex[:8]}", folder, backfill=SETTINGS)
    with sources_installed(), working(world) as worker, operating(world) as operator:
        yield operator, worker
    world.registry.close()


@pytest.fixture
def operator(shared: tuple[Operator, Running]) -> Operator:
    return shared[0]


def slowly(folder: Path, minutes: int = MINUTES, **options: object) -> tuple[str, Path]:
    """Return a source that takes its time, and the file that makes it hurry."""
    hurry = folder / "hurry"
    return bars_from(minutes, batch=10, pace=0.25, hurry=hurry, **options), hurry


def begun(operator: Operator, source: str, symbol: str) -> JobStatus:
    """Ask for one shard, and return its job when two chunks of it are written."""
    job = operator.ask(source, [symbol], MINUTES)
    assert job.shards == 1
    return operator.until_rows(job, 20)


def every_minute(symbol: str, minutes: int = MINUTES) -> list[tuple[str, int]]:
    return [(symbol, minute) for minute in range(minutes)]


def test_a_cancelled_job_ends_at_its_next_chunk_and_makes_room(operator: Operator, tmp_path: Path) -> None:
    source, _ = slowly(tmp_path)
    job = begun(operator, source, "AAA")
    operator.coordinator.cancel(job.id)
    operator.until(job, "cancelled")
    shard = operator.shard(job)
    assert (shard.state, shard.error) == (ShardState.CANCELLED, None)
    assert 20 <= shard.rows < MINUTES
    assert operator.rows("AAA") == every_minute("AAA", shard.rows)
    assert operator.changes(shard.id) == [LeaseChange.CLAIMED, LeaseChange.CANCELLED]
    operator.until(operator.ask(bars_from(900), ["AAB"], 900), "done")  # of every partition


def test_what_was_cancelled_goes_on_at_its_cursor_when_it_is_asked_for_again(
    operator: Operator, tmp_path: Path
) -> None:
    source, hurry = slowly(tmp_path)
    job = begun(operator, source, "ABA")
    operator.coordinator.cancel(job.id)
    operator.until(job, "cancelled")
    hurry.touch()
    again = operator.ask(source, ["ABA"], MINUTES)
    assert again.id == job.id
    operator.until(job, "done")
    assert operator.rows("ABA") == every_minute("ABA")


def test_a_paused_job_is_resumed_at_its_cursor(operator: Operator, tmp_path: Path) -> None:
    source, hurry = slowly(tmp_path)
    job = begun(operator, source, "ACA")
    operator.coordinator.pause(job.id)
    parked = operator.until_shard(operator.shard(job).id, lambda s: s.state is ShardState.PARKED, "the pause")
    assert operator.job(job).state == "paused"
    assert 20 <= parked.rows < MINUTES
    hurry.touch()
    operator.coordinator.resume(job.id)
    operator.until(job, "done")
    assert operator.rows("ACA") == every_minute("ACA")
    events = operator.events(parked.id)
    assert [event.event.value for event in events] == ["claimed", "parked", "resumed", "completed"]
    assert events[2].rows == parked.rows


def test_a_skipped_shard_is_given_up_and_the_others_get_done(operator: Operator, tmp_path: Path) -> None:
    source, hurry = slowly(tmp_path, 300)
    job = operator.ask(source, ["ADA"], 300)
    operator.until_rows(job, 10)
    running = operator.shards(job, ShardState.RUNNING)[0]
    operator.coordinator.skip(running.id)
    operator.until_shard(running.id, lambda s: s.state is ShardState.SKIPPED, "the skip")
    hurry.touch()
    assert operator.until(job, "incomplete").shards_by_state == {ShardState.DONE: 2, ShardState.SKIPPED: 1}
    skipped = operator.coordinator.shard(running.id)
    missing = set(minutes_of(skipped)[skipped.rows :])
    assert operator.rows("ADA") == [("ADA", minute) for minute in range(300) if minute not in missing]


def test_a_failed_shard_is_retried_at_its_cursor(operator: Operator, tmp_path: Path) -> None:
    source = bars_from(MINUTES, batch=10, at=55, fail=RETRIES + 1, state=tmp_path / "state")
    job = operator.ask(source, ["AEA"], MINUTES)
    operator.until(job, "failed")
    failed = operator.shard(job)
    assert failed.rows == 50
    operator.coordinator.retry(failed.id)
    operator.until(job, "done")
    done = operator.shard(job)
    assert (done.rows, done.epoch) == (MINUTES, failed.epoch + 1)
    assert operator.rows("AEA") == every_minute("AEA")


def test_a_released_shard_is_claimed_anew_at_its_cursor(operator: Operator, tmp_path: Path) -> None:
    source, hurry = slowly(tmp_path)
    job = begun(operator, source, "AFA")
    shard = operator.shard(job)
    operator.coordinator.release(shard.partition)
    operator.until_shard(shard.id, lambda s: s.attempt == 2, "a second claim")
    hurry.touch()
    operator.until(job, "done")
    assert operator.rows("AFA") == every_minute("AFA")
    told = {event.event: event for event in operator.events(shard.id)}
    assert list(told) == [LeaseChange.CLAIMED, LeaseChange.RELEASED, LeaseChange.RESUMED, LeaseChange.COMPLETED]
    assert told[LeaseChange.RELEASED].rows == told[LeaseChange.RESUMED].rows >= 20
    assert operator.shard(job).attempt == 2, "the order holds for one claim only"


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, backfill=SETTINGS)
    with sources_installed():
        yield made
    made.registry.close()


def test_what_was_ordered_while_no_worker_ran_is_obeyed_and_begun_shards_keep_their_cursors(
    made: World, tmp_path: Path
) -> None:
    source, hurry = slowly(tmp_path)
    with operating(made) as operator:
        with working(made):
            half = begun(operator, source, "AAA")
            shard = operator.shard(half)
        fresh, gone = (operator.ask(source, [symbol], MINUTES) for symbol in ("BBB", "CCC"))
        operator.coordinator.pause(half.id)
        operator.coordinator.pause(fresh.id)
        operator.coordinator.cancel(gone.id)
        hurry.touch()
        with working(made):
            operator.until(gone, "cancelled")
            for job in (fresh, half):
                parked = operator.until_shard(operator.shard(job).id, lambda s: s.state is ShardState.PARKED, "a pause")
            assert parked.rows >= 20
            assert operator.rows() == every_minute("AAA", parked.rows)
            for job in (half, fresh):
                operator.coordinator.resume(job.id)
                operator.until(job, "done")
        assert operator.rows() == every_minute("AAA") + every_minute("BBB")
        assert [change.value for change in operator.changes(shard.id)] == [
            "claimed",
            "checkpointed",
            "parked",
            "resumed",
            "completed",
        ]
