"""Who gets a slot: an urgent shard before all others, and a small job beside a large one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.lease_event import LeaseChange
from coordinator.shards import ShardState
from operations.stack import EmbeddedStack
from tests.support.operating import Operator, bars_from, operating, sources_installed
from tests.support.working import working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SETTINGS = {"slots": 2, "chunk_rows": 10, "retry_base_s": 0.05, "retry_max_s": 0.1}
LONG = 800


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=4, backfill=SETTINGS)
    with sources_installed():
        yield made
    made.registry.close()


def test_an_urgent_request_is_done_long_before_a_long_job_that_has_all_slots_and_yields_one(
    made: World, tmp_path: Path
) -> None:
    hurry = tmp_path / "hurry"
    with operating(made) as operator, working(made):
        long = operator.ask(bars_from(LONG, batch=10, pace=0.2, hurry=hurry), ["AAA"], LONG, target_rows=400)
        operator.until(long, "running")
        operator.until_rows(long, 40)
        urgent = operator.ask(bars_from(100), ["BBB"], 100, urgent=True)
        assert operator.until(urgent, "done", seconds=30).urgent
        left = operator.job(long)
        assert left.rows < LONG / 2
        assert left.state == "running"
        hurry.touch()
        operator.until(long, "done")
        rows = [("AAA", minute) for minute in range(LONG)] + [("BBB", minute) for minute in range(100)]
        assert operator.rows() == rows
        moved = [s for s in operator.shards(long) if LeaseChange.YIELDED in operator.changes(s.id)]
        assert len(moved) == 1
        events = operator.events(moved[0].id)
        assert [e.event.value for e in events] == ["claimed", "yielded", "resumed", "completed"]
        assert events[1].rows == events[2].rows > 0


def test_a_small_job_waits_for_no_shard_of_a_large_one_but_those_before_it_in_its_partition(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    hurry = tmp_path / "hurry"
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=8, backfill={**SETTINGS, "slots": 1})
    with sources_installed(), operating(made) as operator:
        large = operator.ask(bars_from(700, batch=10, pace=0.1, hurry=hurry), ["AAA"], 700)
        assert len({shard.partition for shard in operator.shards(large)}) == 7
        with working(made):
            operator.until_rows(large, 30)
            # All others of the large job have waited longer.
            free = {*range(8)} - {shard.partition for shard in operator.shards(large)}
            small = operator.ask(bars_from(100), [symbol_in(operator, free)], 100)
            operator.until(small, "done")
            assert operator.job(large).shards_by_state.get(ShardState.DONE, 0) <= 2
            hurry.touch()
            operator.until(large, "done")
    assert len(operator.rows()) == 800
    made.registry.close()


def symbol_in(operator: Operator, partitions: set[int]) -> str:
    """Return a symbol whose only shard would be queued in one of these partitions."""
    for number in range(100):
        wanted = operator.request(bars_from(100), [f"S{number:02d}"], 100)
        if operator.coordinator.plan(wanted).shards[0].partition in partitions:
            return f"S{number:02d}"
    raise AssertionError("no symbol falls into these partitions")
