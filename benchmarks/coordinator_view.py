"""The coordinator's view: `python -m benchmarks.coordinator_view [--json FILE]`.

*Rebuild* is what a replica does at its start: read the control topics from their beginning to their end and fold them.
Each shard has two records (queued; then done, or running), as before compaction. *Leases* is how long the question who
holds what takes in that replica, first with nothing else to do and then while a thousand records a second come in.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from benchmarks.goals import LEASES_P99_MS, REBUILD_SECONDS, at_most
from benchmarks.stack import running_broker
from coordinator.feed import Feed
from coordinator.local import LocalBackfillCoordinator
from coordinator.records import ControlPlane, Event
from coordinator.shards import Job, Progress, Shard, ShardState, job_id, shard_id
from streams import topics
from streams.clients import producer_config
from streams.clock import Deadline, now_ms
from streams.registry import Registry
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import Settings, load_settings
from streams.topic_admin import TopicAdmin

__all__ = ["main"]

_HOUR = 3_600_000_000_000
_SHARDS_OF_A_JOB = 1_000
_RUNNING = 64
_RATE = 1_000
_PARTITIONS = 64


def prepared(bootstrap: str, registry_url: str) -> tuple[Settings, Registry]:
    """Return settings of a world whose control topics and schemas are there."""
    values = {
        "world": "bench",
        "kafka": {"bootstrap_servers": bootstrap},
        "registry": {"url": registry_url},
        "topics": {"shard_partitions": _PARTITIONS},
        "datasets": {"bars": {"contract": "ohlcv", "interval": "1m", "source": "files:none"}},
    }
    settings = load_settings(env={}, overrides=values)
    TopicAdmin(settings.kafka, timeout=60).apply(topics.topics_for(settings))
    registry = Registry(settings.registry)
    register_subjects(registry, wanted_subjects(settings))
    return settings, registry


def shards_and_jobs(count: int) -> Iterator[Event]:
    """Yield jobs with their shards, queued and then as they are now: done, but for some that run."""
    at = now_ms()
    for number in range(0, count, _SHARDS_OF_A_JOB):
        symbols = (f"SYM{number // _SHARDS_OF_A_JOB:04d}",)
        last = min(_SHARDS_OF_A_JOB, count - number)
        job = job_id("bars", symbols, 0, last * _HOUR, "files:none", None, 1)
        shards = [
            Shard(
                id=shard_id("bars", symbols, n * _HOUR, (n + 1) * _HOUR, "files:none", None, 1),
                job=job,
                dataset="bars",
                symbols=symbols,
                start=n * _HOUR,
                end=(n + 1) * _HOUR,
                source="files:none",
                as_of=at,
                contract_version=1,
                estimated_rows=60,
                partition=n % _PARTITIONS,
            )
            for n in range(last)
        ]
        ids = tuple(shard.id for shard in shards)
        yield Job(
            job, 1, "bars", symbols, 0, last * _HOUR, "1m", "files:none", at, 1, False, ids, 60 * last, "bench", at
        )
        yield from (Progress(shard, at=at) for shard in shards)
        for n, shard in enumerate(shards):
            runs = number == 0 and n < _RUNNING
            yield Progress(
                shard,
                ShardState.RUNNING if runs else ShardState.DONE,
                attempt=1,
                sequence=6,
                offset=n,
                member="0123456789abcdef01234567",
                host="worker-7:1234",
                lease_epoch=3,
                cursor="x" * 200 if runs else None,
                rows=60,
                digest="0" * 64,
                newest=(n + 1) * _HOUR,
                started_at=at,
                at=at + 1,
            )


class Writer:
    """Writes events as fast as it can, or at a pace."""

    def __init__(self, settings: Settings, plane: ControlPlane) -> None:
        self._plane = plane
        self._producer = Producer(producer_config(settings, compression="lz4"))

    def write(self, event: Event) -> None:
        topic, payload, key, partition = self._plane.encode(event)
        while True:
            try:
                self._producer.produce(topic, payload, key, partition)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def flush(self) -> None:
        if self._producer.flush(120):
            raise RuntimeError("the broker does not take the records")


def rebuild(settings: Settings, plane: ControlPlane, shards: int) -> dict[str, float]:
    """Return the seconds that a view takes from nothing, and the memory that it takes, in MB."""
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    feed = Feed(settings, plane)
    feed.catch_up(Deadline(300))
    took = time.perf_counter() - began
    with feed.reading() as view:
        if len(view) != shards:
            raise RuntimeError(f"the view holds {len(view)} shards instead of {shards}")
    grown = psutil.Process().memory_info().rss - before
    feed.close()
    return {"shards": shards, "seconds": took, "memory_mb": grown / 1e6}


def asked(ask: Callable[[], object], times: int) -> dict[str, float]:
    """Return percentiles in milliseconds of asking."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1_000)
    p50, p99 = (float(p) for p in np.percentile(took, [50, 99]))
    return {"p50_ms": p50, "p99_ms": p99, "max_ms": max(took)}


def busily(writer: Writer, moving: list[Progress], stop: threading.Event) -> None:
    """Report progress of running shards, a thousand times a second, until told to stop."""
    began, number = time.perf_counter(), 0
    while not stop.is_set():
        if (ahead := began + number / _RATE - time.perf_counter()) > 0:
            time.sleep(ahead)
        progress = moving[number % len(moving)]
        moving[number % len(moving)] = replace(progress, sequence=progress.sequence + 1, at=now_ms())
        writer.write(moving[number % len(moving)])
        number += 1
    writer.flush()


def leases(
    settings: Settings, registry: Registry, writer: Writer, moving: list[Progress], times: int
) -> dict[str, float]:
    """Return percentiles of the question who holds what, in peace and under load."""
    coordinator = LocalBackfillCoordinator(settings, registry, deadline_s=300)
    try:
        if len(coordinator.leases()) != _RUNNING:
            raise RuntimeError("the leases are not those that were written")
        peace = asked(coordinator.leases, times)
        stop = threading.Event()
        busy = threading.Thread(target=busily, args=(writer, moving, stop))
        busy.start()
        try:
            load = asked(coordinator.leases, times)
        finally:
            stop.set()
            busy.join()
    finally:
        coordinator.close()
    return {f"{how}_{name}": value for how, found in (("idle", peace), ("busy", load)) for name, value in found.items()}


def main(
    shards: Annotated[int, typer.Option(min=_SHARDS_OF_A_JOB, help="Shards of the view.")] = 100_000,
    times: Annotated[int, typer.Option(min=100, help="Questions asked.")] = 5_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure how long a coordinator takes to know everything, and to answer from it."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with running_broker(None, None, console) as broker:
        settings, registry = prepared(broker.bootstrap, broker.registry_url)
        with registry:
            plane = ControlPlane.prepare(settings, registry)
            writer, moving = Writer(settings, plane), []
            for event in shards_and_jobs(shards):
                writer.write(event)
                if isinstance(event, Progress) and event.state is ShardState.RUNNING:
                    moving.append(event)
            writer.flush()
            figures = {
                "rebuild": rebuild(settings, plane, shards),
                "leases": leases(settings, registry, writer, moving, times),
            }
    goals = {
        "rebuild seconds": REBUILD_SECONDS,
        "leases idle_p99_ms": LEASES_P99_MS,
        "leases busy_p99_ms": LEASES_P99_MS,
    }
    table = Table("measure", "figure", "wanted", box=None)
    for group, values in figures.items():
        for name, value in values.items():
            what = f"{group} {name}"
            table.add_row(what, f"{value:,.0f}" if value >= 1_000 else f"{value:,.2f}", at_most(goals.get(what), value))
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
