"""Two SLA agents, one of which is killed at random while observations flow; what is told, against what should be."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from streams.clock import now
from streams.registry import Registry
from streams.sla.breach import Breach, breach_id
from streams.sla.replay import replay
from streams.sla.verdict import nanos
from tests.support.processes import Process, running
from tests.support.progress import until
from tests.support.sla_worlds import SLAWorld, make_sla_world, observation
from tests.support.worlds import DATASET

__all__ = ["breaches_come_out_the_same"]

NS = 1_000_000_000
WINDOW_S = 2
READERS = 12
SLOW_S, QUICK_S = 3.0, 0.1
BATCH_S = 0.1
OBJECTIVES: dict[str, dict[str, Any]] = {
    "quick": {"kind": "quantile", "quantile": 0.5, "limit": "1s", "window": f"{WINDOW_S}s"},
    "burnt": {
        "kind": "budget",
        "target": 0.9,
        "period": "60s",
        "burn": [{"long": "10s", "short": "5s", "rate": 3, "severity": "critical"}],
    },
}


def breaches_come_out_the_same(
    stack: Any, world: str, folder: Path, *, kills: int, observations: int, every_s: float, seed: int
) -> None:
    """Assert that no breach is missing, none is told twice, and each record is what a replay of the log finds.

    Args:
        every_s: about how often an agent is killed.
    """
    chance = random.Random(seed)
    made = make_sla_world(
        stack,
        world,
        folder,
        OBJECTIVES,
        # As little as Kafka allows; and as much as an observation may need to its topic on a busy machine.
        sla_agent={"session_timeout_s": 6, "grace_ms": 4_000, "checkpoint_s": 1},
    )
    with ExitStack() as processes:
        agents = [_started(made, folder, number, processes) for number in range(2)]
        until(lambda: sum(a.output().count("sla_partition_taken") for a in agents) >= 4, 60, "taking partitions")
        told = _flow(made, agents, folder, processes, chance, kills=kills, observations=observations, every_s=every_s)
        expected = _by_hand(world, told)
        until(
            lambda: (
                expected <= {b.id for b in made.breaches() if b.objective == "quick"} and _nothing_open(made.breaches())
            ),
            120,
            "all breaches",
            lambda: "\n".join(agent.output()[-3_000:] for agent in agents),
        )
        logs = "\n".join(each.read_text("utf-8", "replace") for each in folder.glob("agent-*.log"))
        assert "sla_observations_late" not in logs, "the machine is too busy for this test: observations came too late"
        for agent in agents:
            assert agent.terminate() == 0
    breaches = made.breaches()
    assert {b.id for b in breaches if b.objective == "quick"} == expected
    numbered = [(b.id, b.sequence) for b in breaches]
    assert len(set(numbered)) == len(numbered), "a record was told twice"
    with Registry(made.settings.registry) as registry:
        again = replay(made.settings, registry)
    assert again.observations == len(told)
    assert _sorted(breaches) == _sorted(again.breaches)


def _flow(
    made: SLAWorld,
    agents: list[Process],
    folder: Path,
    processes: ExitStack,
    chance: random.Random,
    *,
    kills: int,
    observations: int,
    every_s: float,
) -> list[tuple[str, int, float]]:
    """Write observations while agents are killed; return reader, time and duration of each."""
    told: list[tuple[str, int, float]] = []
    pace, killed = threading.Event(), 0
    began = now()
    seconds = kills * every_s + 4 * WINDOW_S
    next_kill = chance.uniform(0.5, 1.5) * every_s
    number = len(agents)
    while (elapsed := (now() - began).total_seconds()) < seconds or killed < kills:
        due = min(observations, int(observations * elapsed / seconds)) - len(told)
        _write(made, told, [_slow(chance, at=elapsed, reader=n % READERS) for n in range(max(0, due))])
        if killed < kills and elapsed >= next_kill:
            victim = chance.randrange(len(agents))
            agents[victim].kill()
            agents[victim] = _started(made, folder, number, processes)
            number, killed = number + 1, killed + 1
            next_kill = elapsed + chance.uniform(0.5, 1.5) * every_s
        pace.wait(BATCH_S)
    _write(made, told, [_slow(chance, at=seconds, reader=n % READERS) for n in range(observations - len(told))])
    return told


def _slow(chance: random.Random, *, at: float, reader: int) -> tuple[int, float]:
    """Return a reader and what its fetch takes: for some seconds mostly long, for others mostly short."""
    is_slow = random.Random(f"{reader} {at // 5}").random() < 0.4
    return reader, SLOW_S if chance.random() < (0.9 if is_slow else 0.1) else QUICK_S


def _write(made: SLAWorld, told: list[tuple[str, int, float]], batch: list[tuple[int, float]]) -> None:
    at = now()
    records = []
    for each, (reader, elapsed) in enumerate(batch):
        when = at + timedelta(microseconds=each)
        name = f"reader{reader}"
        told.append((name, nanos(when), elapsed))
        outcome = "violated" if elapsed == SLOW_S else "ok"
        records.append(observation(when, elapsed, consumer=name, outcome=outcome, fetch_id=f"f{len(told)}"))
    made.write(*records)


def _by_hand(world: str, told: list[tuple[str, int, float]]) -> set[str]:
    """Return the ids of the breaches of the quantile, window by window, without anything of the agent's."""
    windows: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for reader, at, elapsed in told:
        windows[reader][at - at % (WINDOW_S * NS)].append(elapsed)
    found = set()
    for reader, own in windows.items():
        start, is_open = min(own), False
        while start <= max(own):
            took = sorted(own.get(start, ()))
            broken = bool(took) and took[(len(took) + 1) // 2 - 1] > 1
            if broken and not is_open:
                found.add(breach_id(world, "quick", DATASET, reader, "total", start))
            is_open = broken
            start += WINDOW_S * NS
    return found


def _nothing_open(breaches: list[Breach]) -> bool:
    opened = {b.id for b in breaches if b.state == "opened"}
    return opened == {b.id for b in breaches if b.state == "resolved"}


def _started(made: SLAWorld, folder: Path, number: int, processes: ExitStack) -> Process:
    log = folder / f"agent-{number}.log"
    return processes.enter_context(running(["sla-agent", "--config", str(made.config)], log))


def _sorted(breaches: list[Breach]) -> list[Breach]:
    return sorted(breaches, key=lambda b: (b.id, b.sequence))
