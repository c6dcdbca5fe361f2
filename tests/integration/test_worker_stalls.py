"""A source that never comes back: its process ends, others go on with other shards, and its own is given up at last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.shards import ShardState
from operations.stack import EmbeddedStack
from tests.support.operating import bars_from, operating, sources_installed
from tests.support.processes import WITH_TEST_SOURCES, Process
from tests.support.working import working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SETTINGS = {"slots": 1, "chunk_rows": 50, "max_attempts": 2, "stall_timeout_s": 2.0, "revoke_deadline_s": 0.5}


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, backfill=SETTINGS)
    with sources_installed():
        yield made
    made.registry.close()


def ended_by_stall(process: Process, shard: str) -> None:
    """Wait until a worker ends by itself, and see that it says why and what to do."""
    assert process.wait(60) == 2, process.output()
    said = " ".join(process.output().split())
    assert "Traceback" not in said
    assert f"error: {shard} got nowhere for" in said
    assert "seamless.backfill.stall_timeout_s (2 s)" in said
    assert "test:100?hang=" in said, "the source is named"


def test_a_source_that_hangs_ends_its_process_but_holds_up_no_other_shard_and_is_given_up(
    made: World, tmp_path: Path
) -> None:
    def worker(name: str) -> Process:
        return Process(["worker", "--config", str(made.config)], tmp_path / f"{name}.log", WITH_TEST_SOURCES)

    processes: list[Process] = []
    try:
        with operating(made) as operator:
            hanging = operator.ask(bars_from(100, hang=tmp_path / "never"), ["AAA"], 100)
            processes.append(worker("first"))
            shard = operator.until_shard(operator.shard(hanging).id, lambda s: s.attempt == 1, "the claim").id
            others = operator.ask(bars_from(900), ["BBB"], 900)
            ended_by_stall(processes[0], shard)
            assert operator.rows() == []

            # The next one has one slot, too: others come first, and then the shard that came to nothing.
            # Those behind it in its own partition have to wait until it is given up.
            processes.append(worker("second"))
            behind = operator.coordinator.shard(shard).partition
            free = [s.id for s in operator.shards(others) if s.partition != behind]
            assert len(free) >= 7
            for other in free:
                operator.until_shard(other, lambda s: s.state is ShardState.DONE, "another shard")
            operator.until_shard(shard, lambda s: s.attempt == 2, "the second claim")
            ended_by_stall(processes[1], shard)

            with working(made) as third:
                operator.until(hanging, "failed")
                operator.until(others, "done")
                assert third.value("backfill_failure_total") == 1
            failed = operator.shard(hanging)
            assert failed.state is ShardState.FAILED
            assert "2 claims in a row ended before a chunk was written" in (failed.error or "")
            assert operator.dead()[shard].error == failed.error
            changes = [change.value for change in operator.changes(shard)]
            assert changes == ["claimed", "stalled", "resumed", "stalled", "failed"]
            assert operator.rows() == [("BBB", minute) for minute in range(900)]
    finally:
        for process in processes:
            if process.alive():
                process.kill()
