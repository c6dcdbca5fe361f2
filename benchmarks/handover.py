"""From the kill of a worker to its shards going on elsewhere: `python -m benchmarks.handover [--kills N]`.

Three workers fetch shards; one that holds some is killed (SIGKILL) and started again, over and over. Measured is the
time from the kill to the claim of each of its shards by another worker, as the log of leases tells it. The broker finds
out that a member is dead when its session ends, so the whole is done under three session timeouts: the embedded stack's
own, Kafka's lowest by default in that stack, and one second.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.backfill_world import BenchWorld, until, write_bars
from benchmarks.goals import HANDOVER_P99_SECONDS, at_most
from benchmarks.stack import running_broker
from coordinator.lease_event import LeaseChange
from coordinator.lease_log import all_lease_events
from coordinator.shards import ShardState
from operations.stack.settings import BROKER_SETTINGS
from streams.clock import now_ms

__all__ = ["main"]

# More slots than shards, so that a shard waits for the group alone and not for a free slot.
_WORKERS, _SLOTS, _SHARDS, _ROWS = 3, 4, 6, 600_000
_SESSION = "group.consumer.session.timeout.ms"
_HEARTBEAT = "group.consumer.heartbeat.interval.ms"
_SETTINGS: dict[str, dict[str, str]] = {
    "6 s": {},
    "3 s": {_SESSION: "3000", _HEARTBEAT: "500"},
    "1 s": {
        _SESSION: "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        _HEARTBEAT: "250",
        "group.consumer.min.heartbeat.interval.ms": "250",
    },
}


def measured(console: Console, settings: dict[str, str], kills: int) -> list[float]:
    """Return the seconds that each shard of a killed worker waited for its next holder."""
    with (
        tempfile.TemporaryDirectory(prefix="seamless-bench-") as name,
        running_broker(None, None, console, settings) as broker,
    ):
        source = Path(name) / "bars.parquet"
        write_bars(source, _ROWS)
        # Small chunks, so that a shard takes longer than all kills together.
        world = BenchWorld(broker.bootstrap, broker.registry_url, Path(name), "handover", chunk_rows=10)
        killed: list[tuple[int, list[str]]] = []
        chance = random.Random(1)
        with world.workers(_WORKERS, _SLOTS) as running:
            job = world.request(source, _ROWS, _ROWS // _SHARDS)

            def held_by(pid: int) -> list[str]:
                shards = world.shards(job)
                return [p.shard.id for p in shards if p.state is ShardState.RUNNING and p.host.endswith(f":{pid}")]

            for _ in range(kills):
                until(lambda: sum(bool(held_by(w.pid)) for w in running) > 1, 120, "work for two workers")
                which = chance.choice([n for n, w in enumerate(running) if held_by(w.pid)])
                victim = running[which]
                held = held_by(victim.pid)
                victim.kill()
                killed.append((now_ms(), held))
                victim.wait()
                running[which] = world.worker(_SLOTS)
                until(lambda h=held, v=victim: not set(h) & set(held_by(v.pid)), 120, "the hand-over")  # type: ignore[misc]
            told = all_lease_events(world.settings)
    waited = []
    for at, shards in killed:
        for shard in shards:
            claims = (e.at for e in told if e.shard == shard and e.event is LeaseChange.RESUMED and e.at >= at)
            waited.append((min(claims) - at) / 1_000)
    return waited


def main(
    kills: Annotated[int, typer.Option(min=2, help="Kills under each session timeout.")] = 12,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure how long a killed worker's shards wait for another one."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    table = Table("session timeout", "heartbeat", "shards", "p50 s", "p99 s", "longest s", "p99 wanted", box=None)
    figures = {}
    for name, settings in _SETTINGS.items():
        waited = measured(console, settings, kills)
        p50, p99 = (float(p) for p in np.percentile(waited, [50, 99]))
        figures[name] = {"shards": len(waited), "p50_s": p50, "p99_s": p99, "max_s": max(waited)}
        heartbeat = (BROKER_SETTINGS | settings)[_HEARTBEAT]
        goal = at_most(None if settings else HANDOVER_P99_SECONDS, p99)
        row = (name, f"{heartbeat} ms", str(len(waited)), f"{p50:.2f}", f"{p99:.2f}", f"{max(waited):.2f}", goal)
        table.add_row(*row)
        console.print(f"[dim]{' '.join(row)}[/dim]")
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
