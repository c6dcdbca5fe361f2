"""The normalizer is killed again and again; what a reader of committed records sees is what the oracle says."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from streams.clock import Deadline
from tests.support.bars import faulty_bars
from tests.support.oracle import assert_exactly_once
from tests.support.processes import Process
from tests.support.progress import committed, finished, until
from tests.support.worlds import World, make_world

pytestmark = pytest.mark.kafka

# Small transactions, so that a kill finds one open nearly always and many are needed to get through.
SLOW = {"commit_interval_ms": 20, "max_batch_rows": 250}


class Pair:
    """Two normalizers of one group; a killed one is started again under the same name."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self.processes = [self._start(0), self._start(1)]

    def _start(self, which: int) -> Process:
        log = self._folder / f"normalizer-{which}.log"
        name = {"SEAMLESS_NORMALIZER__INSTANCE": f"pair-{which}"}
        return Process(["normalize", "--config", str(self._world.config)], log, name)

    def kill(self, which: int) -> None:
        self.processes[which].kill()
        self.processes[which] = self._start(which)

    def supervise(self) -> None:
        """Start again what ended by itself, as one does that is started while there is no broker."""
        for which, process in enumerate(self.processes):
            if not process.alive():
                process.wait(10)
                self.processes[which] = self._start(which)

    def outputs(self) -> str:
        return "\n".join(p.output()[-4_000:] for p in self.processes)

    def end(self) -> None:
        for process in self.processes:
            if process.alive():
                process.kill()


def survive(
    world: World, folder: Path, kills: int, seed: int, *, broker: EmbeddedStack | None = None, broker_kills: int = 0
) -> None:
    """Kill one of two processes at random moments, each time only after the group has made some progress.

    Before `broker_kills` of these kills, spread evenly, the broker is killed under both, and started again.
    """
    chance = random.Random(seed)
    pair = Pair(world, folder)
    broker_at = {(n + 1) * kills // broker_kills - 1 for n in range(broker_kills)}
    try:
        for number in range(kills):
            before = committed(world)
            until(lambda b=before: committed(world) != b or finished(world), 120, "progress", pair.outputs)  # type: ignore[misc]
            pause = Deadline(chance.random())
            until(pause.passed, 5, "the moment of the kill")
            if broker is None:
                assert all(process.alive() for process in pair.processes), pair.outputs()
            elif number in broker_at:
                broker.kill_broker()
                broker.restart_broker()
            pair.kill(chance.randrange(2))
            pair.supervise()
        until(lambda: finished(world), 180, "the end of the work", pair.outputs)
    finally:
        pair.end()
    assert_exactly_once(world)


def test_five_kills_lose_and_double_nothing(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine={"max_share": 1.0})
    made.produce(faulty_bars(60_000, made.raw_schema.id, seed=5))
    survive(made, tmp_path, kills=5, seed=5)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_twenty_kills_lose_and_double_nothing(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine={"max_share": 1.0})
    made.produce(faulty_bars(250_000, made.raw_schema.id, seed=20))
    survive(made, tmp_path, kills=20, seed=20)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_suspensions_past_the_session_lose_and_double_nothing(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    """A process that sleeps past its session wakes up as a zombie; its transaction must be refused."""
    made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine={"max_share": 1.0})
    made.produce(faulty_bars(150_000, made.raw_schema.id, seed=7))
    pair = Pair(made, tmp_path)
    chance = random.Random(7)
    try:
        for _ in range(6):
            before = committed(made)
            until(lambda b=before: committed(made) != b, 60, "progress", pair.outputs)  # type: ignore[misc]
            sleeper = pair.processes[chance.randrange(2)]
            sleeper.signal(signal.SIGSTOP)
            time.sleep(9)  # The fault itself: longer than the session, whatever else happens meanwhile.
            sleeper.signal(signal.SIGCONT)
        until(lambda: finished(made), 120, "the end of the work", pair.outputs)
    finally:
        pair.end()
    assert_exactly_once(made)


def test_a_broker_killed_between_two_kills_loses_and_doubles_nothing(tmp_path: Path, world: str) -> None:
    """A stack of its own, so that no other test feels it."""
    with EmbeddedStack(tmp_path / "stack", die_with_parent=True) as stack:
        made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine={"max_share": 1.0})
        made.produce(faulty_bars(30_000, made.raw_schema.id, seed=3))
        survive(made, tmp_path, kills=2, seed=3, broker=stack, broker_kills=1)


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
def test_twenty_kills_and_five_of_the_broker_lose_and_double_nothing(tmp_path: Path, world: str) -> None:
    """The same as twenty kills, with the broker dying under both processes again and again."""
    with EmbeddedStack(tmp_path / "stack", die_with_parent=True) as stack:
        made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine={"max_share": 1.0})
        made.produce(faulty_bars(250_000, made.raw_schema.id, seed=3))
        survive(made, tmp_path, kills=20, seed=3, broker=stack, broker_kills=5)
