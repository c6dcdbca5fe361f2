"""`seamless worker` as a user runs it: what it refuses, what it serves, and how it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.lease_event import LeaseChange
from coordinator.lease_log import explain_shard
from coordinator.shards import ShardState
from operations.stack import EmbeddedStack
from streams.clock import Deadline
from tests.support.operating import bars_from, operating, sources_installed
from tests.support.processes import WITH_TEST_SOURCES, Process, metric_of, metrics_of, running
from tests.support.progress import until
from tests.support.working import working
from tests.support.worlds import World, make_backfill_world, make_world

pytestmark = pytest.mark.kafka

SETTINGS = {"slots": 4, "chunk_rows": 10, "retry_base_s": 0.05, "retry_max_s": 0.1}
MINUTES = 1_600


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=4, backfill=SETTINGS)
    with sources_installed():
        yield made
    made.registry.close()


def failure(arguments: list[str], folder: Path) -> str:
    """Run a command that is to be refused: exit code 2, no trace; return what it said."""
    with running(arguments, folder / "refused.log") as process:
        assert process.wait(60) == 2, process.output()
        said = process.output()
    assert "Traceback" not in said
    return " ".join(said.split())


@pytest.mark.parametrize("slots", ["0", "257", "many"])
def test_wrong_numbers_of_slots_are_refused(slots: str, tmp_path: Path) -> None:
    assert "--slots" in failure(["worker", "--slots", slots], tmp_path)


def test_missing_topics_are_refused_by_name_with_the_remedy(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path)
    said = failure(["worker", "--config", str(made.config)], tmp_path)
    assert f"there is no topic {world}.backfill.shards, " in said
    assert "run `seamless topics apply`" in said
    made.registry.close()


def ended(process: Process, how: signal.Signals) -> None:
    """Tell a worker to end, and see that it does so soon and well."""
    quickly = Deadline(10)
    process.signal(how)
    assert process.wait(30) == 0, process.output()
    assert not quickly.passed(), process.output()
    assert "Traceback" not in process.output()


def test_a_worker_that_is_told_to_end_leaves_its_shards_at_their_cursors_and_others_go_on_at_once(
    made: World, tmp_path: Path
) -> None:
    hurry = tmp_path / "hurry"

    def worker(name: str) -> Process:
        command = ["worker", "--config", str(made.config)]
        process = contexts.enter_context(running(command, tmp_path / f"{name}.log", WITH_TEST_SOURCES))
        until(lambda: "partitions_assigned" in process.output(), 60, "a member", process.output)
        return process

    with ExitStack() as contexts:
        operator = contexts.enter_context(operating(made))
        one, other = worker("one"), worker("other")
        job = operator.ask(bars_from(MINUTES, batch=10, pace=0.25, hurry=hurry), ["AAA"], MINUTES, target_rows=400)
        assert job.shards == 4
        for shard in operator.shards(job):
            operator.until_shard(shard.id, lambda s: s.rows >= 20, "two chunks of each")
        theirs = {shard.id for shard in operator.shards(job) if shard.host.endswith(f":{one.pid}")}
        assert len(theirs) == 2, operator.told(job)

        ended(one, signal.SIGTERM)
        soon = Deadline(3)
        for name in theirs:
            moved = operator.until_shard(name, lambda s: s.attempt == 2, "the other one goes on")
            assert moved.host.endswith(f":{other.pid}")
        assert not soon.passed()
        assert metric_of(other, "backfill_lease_moves_total") == 2
        for name in theirs:
            claimed, left, resumed = operator.events(name)
            assert (left.event, resumed.event) == (LeaseChange.CHECKPOINTED, LeaseChange.RESUMED)
            assert left.rows == resumed.rows >= 20
            story = explain_shard(made.settings, name)
            assert story.moves == 1
            assert f"in place of {claimed.host}" in story.steps[2].text

        served = metrics_of(other)
        for series in ("backfill_rows_total", "backfill_last_timestamp", "backfill_lease_moves_total"):
            assert f"\n{series}{{" in served
        assert metric_of(other, "backfill_rows_total") > 0

        ended(other, signal.SIGINT)
        shards = operator.shards(job)
        assert {shard.state for shard in shards} <= {ShardState.PENDING, ShardState.DONE}
        rows = operator.rows()
        assert len(rows) == len(set(rows)) == operator.job(job).rows
        hurry.touch()
        with working(made) as last:
            operator.until(job, "done")
            assert last.value("backfill_lease_moves_total") == sum(s.state is ShardState.PENDING for s in shards)
        assert operator.rows() == [("AAA", minute) for minute in range(MINUTES)]
