"""Backfill against a plain loop: `python -m benchmarks.backfill [--rows N] [--runs N] [--json FILE]`.

The same Parquet file is read by the same source and written as the same Avro records: once by a loop that reads,
encodes and produces and promises nothing, and by one, two and four `seamless worker` processes, which conform every
row, write chunks as transactions with cursor, progress and lease, and take shards from the queue. Rounds are
interleaved; a ratio is the median of the rounds' own. Memory is the peak of one worker's process, with shards of two
sizes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from benchmarks.backfill_world import DATASET, FIRST, BenchWorld, write_bars
from benchmarks.bars import SYMBOLS
from benchmarks.footprint import Footprint
from benchmarks.goals import WORKER_MB, WORKER_RATIO, at_least, at_most
from benchmarks.stack import running_broker
from coordinator.chunks import ShardJob
from coordinator.source import SourceContext, open_source
from schemas.mapping import locate
from streams.clients import producer_config
from streams.partitioning import partition_of
from streams.registry import Registry

__all__ = ["main"]

_SHARD_ROWS = 50_000
_WARM_ROWS = 40_000
_MINUTE_NS = 60_000_000_000


def plain_loop(world: BenchWorld, source: Path, rows: int) -> float:
    """Return the rows a second of reading, encoding and producing, with nothing else."""
    with Registry(world.settings.registry) as registry:
        job = ShardJob.prepare(world.settings, DATASET, registry)
        context = SourceContext(world.settings, DATASET, world.settings.dataset(DATASET), job.contract, registry)
        producer = Producer(producer_config(world.settings, compression=world.settings.normalizer.compression))
        opened = open_source(f"files:{source}", context)
        start = int(FIRST.timestamp()) * 10**9
        began, done = time.perf_counter(), 0
        where: dict[bytes, int] = {}
        for batch in opened.fetch(SYMBOLS, start, start + rows // len(SYMBOLS) * _MINUTE_NS, None):
            keys = [
                key.encode() for key in locate(job.contract, batch.rows, None, job.pipeline.timezone).keys.to_pylist()
            ]
            for key, payload in zip(keys, job.encoder.encode(batch.rows), strict=True):
                if key not in where:
                    where[key] = partition_of(key.decode(), job.partitions)
                while True:
                    try:
                        producer.produce(job.history, payload, key, where[key])
                        break
                    except BufferError:
                        producer.poll(0.05)
            done += batch.rows.num_rows
            producer.poll(0)
        if producer.flush(120):
            raise RuntimeError("the broker does not take the records")
    if done != rows:
        raise RuntimeError(f"the source gave {done} rows instead of {rows}")
    return rows / (time.perf_counter() - began)


def by_workers(world: BenchWorld, source: Path, rows: int, count: int, shard_rows: int) -> tuple[float, float]:
    """Return (rows a second from the first claim to the last commit, peak memory of one worker in MB)."""
    with world.workers(count, slots=2) as running:
        # So that registry, contract and partitions are known to all before the clock starts.
        world.finish(world.request(source.with_name("warm.parquet"), _WARM_ROWS, _WARM_ROWS // 16))
        with Footprint(running[0].pid) as footprint:
            job = world.request(source, rows, shard_rows)
            shards = world.finish(job)
    fetched = [progress for progress in shards if progress.shard.job == job.id]
    if (got := sum(progress.rows for progress in fetched)) != rows:
        raise RuntimeError(f"the job wrote {got} rows instead of {rows}")
    seconds = (max(p.at for p in fetched) - min(p.started_at for p in fetched)) / 1_000
    return rows / seconds, footprint.peak_bytes / 1e6


def main(
    rows: Annotated[int, typer.Option(min=200_000, help="Bars in the file.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure how fast workers fetch history, against a loop that promises nothing."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    rates: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="seamless-bench-") as name, running_broker(None, None, console) as broker:
        folder = Path(name)
        source = folder / "bars.parquet"
        write_bars(source, rows)
        write_bars(folder / "warm.parquet", _WARM_ROWS)
        for round_ in range(runs):
            world = BenchWorld(broker.bootstrap, broker.registry_url, folder, f"plain-{round_}")
            rates.setdefault("plain loop", []).append(plain_loop(world, source, rows))
            world.coordinator.close()
            for count in (1, 2, 4):
                what = f"{count} worker{'s' if count > 1 else ''}"
                world = BenchWorld(broker.bootstrap, broker.registry_url, folder, f"workers-{count}-{round_}")
                rate, peak = by_workers(world, source, rows, count, _SHARD_ROWS)
                rates.setdefault(what, []).append(rate)
                memory[f"shards of {_SHARD_ROWS:,} rows"] = max(memory.get(f"shards of {_SHARD_ROWS:,} rows", 0), peak)
                console.print(f"[dim]round {round_ + 1}: {what} {rate:,.0f} rows/s, peak {peak:,.0f} MB[/dim]")
        world = BenchWorld(broker.bootstrap, broker.registry_url, folder, "one-shard")
        memory[f"a shard of {rows:,} rows"] = by_workers(world, source, rows, 1, rows)[1]
    ratios = {
        what: statistics.median(rate / plain for rate, plain in zip(found, rates["plain loop"], strict=True))
        for what, found in rates.items()
    }
    table = Table("backfill", "rows/s", "of the plain loop", "wanted", box=None)
    for what, found in rates.items():
        goal = at_least(WORKER_RATIO if what == "1 worker" else None, ratios[what])
        table.add_row(what, f"{statistics.median(found):,.0f}", f"{ratios[what]:.2f}", goal)
    console.print(table)
    table = Table("one worker's peak", "MB", "wanted", box=None)
    for what, peak in memory.items():
        table.add_row(what, f"{peak:,.0f}", at_most(WORKER_MB, peak))
    console.print(table)
    if json_file is not None:
        figures = {"rows_per_second": rates, "ratios": ratios, "peak_mb": memory}
        json_file.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
