"""Two archivers are killed and suspended at random while rows come; every committed row is in the table once."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from operations.stack import EmbeddedStack
from streams.archive.table import DatasetTable
from streams.clock import Deadline
from tests.support.archiving import Writer, archived, bars, coordinates, make_archive_world, written_coordinates
from tests.support.processes import Process
from tests.support.progress import until
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

SYMBOLS = [f"SYM{n:02d}" for n in range(12)]
# Many small commits, so that a kill often finds one under way.
ARCHIVE = {"commit_interval_s": 0.05, "commit_rows": 400, "maintain_interval_s": 0.5, "compact_files": 4}
ASLEEP_S = 8.0  # longer than the broker's session timeout: what wakes up is a zombie


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_archive_world(stack, world, tmp_path, archive=ARCHIVE)
    yield made
    made.registry.close()


class Pair:
    """Two archivers of one group, of which what ends is started again."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._asleep: dict[int, Deadline] = {}
        self._logs: list[Path] = []
        self.faults: Counter[str] = Counter()
        self.processes = [self._start(), self._start()]

    def _start(self) -> Process:
        log = self._folder / f"archiver-{len(self._logs)}.log"
        self._logs.append(log)
        return Process(["archive", "run", "--config", str(self._world.config)], log, {"SEAMLESS_LOG__FORMAT": "json"})

    def hurt(self, chance: random.Random) -> None:
        which = chance.randrange(2)
        if which not in self._asleep and not self._asleep and chance.random() < 0.35:
            self.processes[which].signal(signal.SIGSTOP)
            self._asleep[which] = Deadline(ASLEEP_S)
            self.faults["suspended"] += 1
            return
        self._asleep.pop(which, None)
        self.processes[which].kill()
        self.processes[which] = self._start()
        self.faults["killed"] += 1

    def tend(self) -> None:
        for which, sleep in list(self._asleep.items()):
            if sleep.passed():
                self.wake(which)
        for which, process in enumerate(self.processes):
            if not process.alive():
                process.wait(0)
                self.faults["ended"] += 1
                self.processes[which] = self._start()

    def wake(self, which: int) -> None:
        self._asleep.pop(which, None)
        self.processes[which].signal(signal.SIGCONT)

    def end(self) -> None:
        for which, process in enumerate(self.processes):
            self.wake(which)
            if process.alive():
                process.kill()

    def said(self, event: str) -> int:
        return sum(log.read_text(errors="replace").count(f'"{event}"') for log in self._logs)

    def outputs(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2_000:]}" for log in self._logs[-4:])


class Stream:
    """Rows written all the time, by a thread, in small transactions of which some are aborted."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._writer, self._chance, self._stop = Writer(world), chance, threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        minute = 0
        while not self._stop.wait(0.02):
            self._writer.live(bars(SYMBOLS, range(minute, minute + 2)), abort=self._chance.random() < 0.1)
            if self._chance.random() < 0.3:
                self._writer.history(bars(SYMBOLS, range(-minute - 2, -minute)), as_of=minute)
            minute += 2

    def end(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self._writer.close()


def survive(world: World, folder: Path, shown: pytest.CaptureFixture[str], *, kills: int, seed: int) -> Counter[str]:
    chance, pair, stream = random.Random(seed), Pair(world, folder), Stream(world, random.Random(seed))
    url, before = DatasetTable(world.settings, DATASET).url, -1

    def version() -> int:
        pair.tend()
        return DeltaTable(url).version() if DeltaTable.is_deltatable(url) else -1

    try:
        while pair.faults["killed"] < kills:
            until(lambda b=before: version() > b, 120, "progress", pair.outputs)  # type: ignore[misc]
            before = version()
            pause = Deadline(chance.random() * 2.0)
            until(pause.passed, 5, "the moment of the fault")
            pair.hurt(chance)
        stream.end()
        written = written_coordinates(world)

        def complete() -> bool:
            pair.tend()
            return coordinates(archived(world)).keys() == written

        until(complete, 180, "the last row", pair.outputs)
        for which in range(2):
            pair.wake(which)
        # What woke up last may still try to write.
        calm = Deadline(3)
        until(calm.passed, 10, "calm")
        found = coordinates(archived(world))
    finally:
        pair.end()
        stream.end()
    doubled = sum(found.values()) - len(found)
    with shown.disabled():
        sys.stdout.write(
            f"\narchive under faults: {dict(pair.faults)}, rows {len(written)}, lost {len(written - found.keys())}, "
            f"doubled {doubled}, refused commits {pair.said('commit_refused')}, read anew {pair.said('read_anew')}, "
            f"compactions {pair.said('files_compacted')}, table version {DeltaTable(url).version()}\n"
        )
    assert found.keys() == written
    assert doubled == 0
    assert pair.faults["ended"] == 0, pair.outputs()
    return pair.faults


@pytest.mark.timeout(400)
def test_eight_kills_lose_and_double_nothing(made: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert survive(made, tmp_path, capsys, kills=8, seed=3)["killed"] == 8


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_fifty_kills_lose_and_double_nothing(made: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert survive(made, tmp_path, capsys, kills=50, seed=5)["killed"] == 50


@pytest.mark.timeout(400)
def test_a_broker_that_is_killed_and_comes_back_costs_no_row_and_no_process(tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path / "stack", die_with_parent=True) as stack:
        world = make_archive_world(stack, "outage", tmp_path, archive=ARCHIVE)
        pair, minute = Pair(world, tmp_path), 0

        def more() -> None:
            nonlocal minute
            writer = Writer(world)
            writer.live(bars(SYMBOLS, range(minute, minute + 20)))
            writer.live(bars(SYMBOLS, range(minute, minute + 5)), abort=True)
            writer.history(bars(SYMBOLS, range(-minute - 20, -minute)), as_of=minute)
            writer.close()
            minute += 20

        def complete() -> bool:
            return coordinates(archived(world)).keys() == written_coordinates(world)

        try:
            more()
            until(complete, 120, "the first rows", pair.outputs)
            for _ in range(2):
                more()
                stack.kill_broker()
                stack.restart_broker()
                more()
                until(complete, 120, "the rows after the outage", pair.outputs)
            assert all(process.alive() for process in pair.processes), pair.outputs()
            assert set(coordinates(archived(world)).values()) == {1}
        finally:
            pair.end()
            world.registry.close()
