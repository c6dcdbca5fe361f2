"""Workers are killed and suspended again and again; every row of the job is there once, and `verify` proves it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.lease_log import all_lease_events
from coordinator.local import LocalBackfillCoordinator
from coordinator.verify import verify
from operations.stack import EmbeddedStack
from streams.clock import Deadline
from tests.support.progress import until
from tests.support.swarm import Swarm
from tests.support.working import asked, history
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SYMBOLS = ["AAA", "BBB", "CCC", "DDD"]
CHUNK = 20
CHUNKS = 12
# A claim may end before its first chunk many times in a row here, and is no fault of the shard.
BACKFILL = {"slots": 3, "chunk_rows": CHUNK, "max_attempts": 100, "retry_base_s": 0.05}


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "support" / "plugins")
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=8, backfill=BACKFILL)
    yield made
    made.registry.close()


def survive(
    world: World, folder: Path, shown: pytest.CaptureFixture[str], *, shards: int, faults: int, pace_s: float, seed: int
) -> tuple[Counter[str], list[LeaseEvent]]:
    """Hurt one of three workers after the other while a job runs, and look at what is left."""
    minutes = shards * CHUNK * CHUNKS // len(SYMBOLS)
    source = f"test:{minutes}?pace={pace_s}&batch={CHUNK}"
    job = asked(world, source, SYMBOLS, minutes, target_rows=CHUNK * CHUNKS)
    assert job.shards >= shards
    coordinator = LocalBackfillCoordinator(world.settings)
    chance, swarm = random.Random(seed), Swarm(world, folder, 3)

    def done() -> bool:
        swarm.tend()
        return coordinator.job(job.id).state == "done"

    def rows() -> int:
        return coordinator.job(job.id).rows

    try:
        while swarm.faults.total() < faults and not done():
            before, pause = rows(), Deadline(chance.uniform(0.0, 1.5))
            until(lambda b=before: done() or rows() > b + CHUNK, 90, "progress", swarm.outputs)  # type: ignore[misc]
            until(lambda p=pause: done() or p.passed(), 5, "the moment of the fault")  # type: ignore[misc]
            swarm.hurt(chance)
        until(done, 240, "the end of the job", swarm.outputs)
        left = coordinator.job(job.id)
        # Zombies wake up to a job that is done, and may still try to write.
        swarm.wake_all()
        told = all_lease_events(world.settings)
        found, wanted = Counter(history(world)), {(s, m) for s in SYMBOLS for m in range(minutes)}
        verdict = verify(world.settings, coordinator, job.id)
    finally:
        swarm.end()
        coordinator.close()
    lost, doubled = len(wanted - found.keys()), sum(found.values()) - len(found)
    with shown.disabled():
        report(swarm, lost=lost, doubled=doubled, leases=told)
    assert left.ratio == 1.0
    assert (lost, doubled) == (0, 0)
    assert found.keys() == wanted
    assert verdict.complete, verdict.problems
    completed = Counter(event.shard for event in told if event.event is LeaseChange.COMPLETED)
    assert len(completed) == job.shards
    assert set(completed.values()) == {1}, "a shard was completed twice"
    return swarm.faults, told


def report(swarm: Swarm, *, lost: int, doubled: int, leases: list[LeaseEvent]) -> None:
    """Print what the workers went through."""
    counts = Counter(event.event.value for event in leases)
    table = Table(title="backfill under faults")
    row: dict[str, Any] = {
        **dict(sorted(swarm.faults.items())),
        "leases moved": counts["resumed"],
        "lost leases": counts["lost"],
        "fenced": swarm.said("seamless.backfill.fenced"),
        "rows lost": lost,
        "rows doubled": doubled,
    }
    for name in row:
        table.add_column(name, justify="right")
    table.add_row(*(str(value) for value in row.values()))
    Console(width=120).print("\n", table)


@pytest.mark.timeout(400)
def test_twenty_faults_lose_and_double_nothing(made: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults, _ = survive(made, tmp_path, capsys, shards=24, faults=20, pace_s=0.2, seed=4)
    assert faults["killed"] + faults["suspended"] >= 20


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_a_hundred_faults_lose_and_double_nothing_and_zombies_are_fenced(
    made: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults, told = survive(made, tmp_path, capsys, shards=48, faults=100, pace_s=0.5, seed=11)
    assert faults["killed"] + faults["suspended"] >= 100
    assert any(event.event in (LeaseChange.FENCED, LeaseChange.LOST) for event in told)
