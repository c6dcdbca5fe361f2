"""A swarm of worker processes that are killed and suspended at random, and started again."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from streams.clock import monotonic
from tests.support.processes import WITH_TEST_SOURCES, Process
from tests.support.worlds import World

__all__ = ["Swarm"]


class Swarm:
    """Workers of one group, each a process.

    Args:
        asleep_s: how long a suspension takes; more than the broker's session timeout makes a zombie of the worker.

    Attributes:
        faults: how many there were of each kind.
    """

    def __init__(
        self, world: World, folder: Path, size: int, *, asleep_s: float = 8.0, environ: Mapping[str, str] | None = None
    ) -> None:
        self._world, self._folder, self._asleep_s = world, folder, asleep_s
        self._environ = {**WITH_TEST_SOURCES, "SEAMLESS_LOG__FORMAT": "json", **(environ or {})}
        self._logs: list[Path] = []
        self._asleep: dict[int, float] = {}
        self.faults: Counter[str] = Counter()
        self.processes = [self._start() for _ in range(size)]

    def _start(self) -> Process:
        log = self._folder / f"worker-{len(self._logs)}.log"
        self._logs.append(log)
        return Process(["worker", "--config", str(self._world.config)], log, self._environ)

    def tend(self) -> None:
        """Wake those that have slept long enough, and start anew what ended by itself, as a supervisor would."""
        for which, since in list(self._asleep.items()):
            if monotonic() - since > self._asleep_s:
                self._wake(which)
        for which, process in enumerate(self.processes):
            if not process.alive():
                process.wait(0)
                self.faults["ended"] += 1
                self.processes[which] = self._start()

    def kill(self, which: int) -> None:
        """End a worker as a power cut would, and start another in its place."""
        self._asleep.pop(which, None)
        self.processes[which].kill()
        self.faults["killed"] += 1
        self.processes[which] = self._start()

    def suspend(self, which: int) -> None:
        """Put a worker to sleep; it wakes up as a zombie at one of the next calls of `tend`."""
        self.processes[which].signal(signal.SIGSTOP)
        self._asleep[which] = monotonic()
        self.faults["suspended"] += 1

    def hurt(self, chance: random.Random) -> bool:
        """Kill or suspend a random worker; return whether one was awake, for the last one is never put to sleep."""
        awake = [which for which in range(len(self.processes)) if which not in self._asleep]
        if len(awake) > 1 and chance.random() < 0.45:
            self.suspend(chance.choice(awake))
            return True
        self.kill(chance.randrange(len(self.processes)))
        return True

    def wake_all(self) -> None:
        for which in list(self._asleep):
            self._wake(which)

    def end(self) -> None:
        self.wake_all()
        for process in self.processes:
            if process.alive():
                process.kill()

    def said(self, event: str) -> int:
        """Return how often the workers logged an event."""
        return sum(log.read_text(errors="replace").count(f'"{event}"') for log in self._logs)

    def outputs(self) -> str:
        """Return the end of what the newest workers said."""
        texts = (f"--- {log.name}\n{log.read_text(errors='replace')[-2_500:]}" for log in self._logs[-4:])
        return "\n".join(texts)

    def _wake(self, which: int) -> None:
        del self._asleep[which]
        self.processes[which].signal(signal.SIGCONT)
