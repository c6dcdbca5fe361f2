"""What a strategy's fetch costs, and whether the archive keeps up: `python -m benchmarks.provider [--only PART]`.

*Fetch*: a million bars of twenty symbols by `Provider.fetch`, with coverage and everything else a result tells, against
polars' read of one Parquet file that holds the same rows in order; rounds are interleaved. *Crowd*: a hundred threads
with one provider fetch overlapping ranges at once. *Ingest*: an archiver works off a topic that the normalizer has
just made of raw rows; both are processes that users start, and each one's rate is taken while it has work.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import median
from threading import Barrier
from typing import Annotated

import numpy as np
import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import bars
from benchmarks.archive import MINUTE, START, Variant, fill
from benchmarks.broker import Broker
from benchmarks.contract import Contract
from benchmarks.goals import ARCHIVE_INGEST, FETCH, at_least, at_most
from benchmarks.jobs.job import Command, Workbench
from benchmarks.jobs.seamless_normalizer import SeamlessNormalizer
from benchmarks.run import start_job, stop_job
from benchmarks.stack import running_broker
from benchmarks.stream import DATASET, SYMBOLS, settings_of
from streams import topics
from streams.archive.reader import ArchiveReader
from streams.provider.provider import Provider
from streams.registry import Registry
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import load_settings
from streams.sla_policy import SLAPolicy
from streams.topic_admin import TopicAdmin

__all__ = ["main"]

_ROWS, _MONTHS = 1_000_000, 3
_CROWD, _CROWD_DAYS = 100, 10
_INGEST_ROWS = 3_000_000
_DEADLINE_S = 300.0
_NAMES = [f"SYM{n:03d}" for n in range(SYMBOLS)]


class Part(StrEnum):
    """What can be measured alone."""

    FETCH = "fetch"
    INGEST = "ingest"


def fetches(broker: Broker, folder: Path, rounds: int) -> tuple[dict[str, list[float]], list[float], float]:
    """Return the milliseconds of each round by what read, those of each fetch of a crowd, and the crowd's seconds."""
    settings = settings_of(folder, broker.bootstrap, broker.registry_url)
    TopicAdmin(settings.kafka, timeout=60).apply(topics.topics_for(settings))
    with Registry(settings.registry) as registry:
        register_subjects(registry, wanted_subjects(settings))
    fill(settings, Variant("", "_month"), SYMBOLS, _MONTHS)
    minutes, one = _ROWS // SYMBOLS, folder / "one.parquet"
    policy = SLAPolicy()
    with Provider(settings, observe=False) as provider:

        def fetch(names: list[str], first: int, length: int) -> int:
            start = START + first * MINUTE
            found = provider.fetch(DATASET, names, start, start + length * MINUTE, sla=policy, live=False)
            if found.partial or found.missing:
                raise RuntimeError(f"a fetch is not whole: {found.reasons}, {found.missing[:3]}")
            return found.frame.height

        provider.fetch(DATASET, _NAMES, START, START + minutes * MINUTE, live=False).frame.write_parquet(one)
        reads: dict[str, Callable[[], int]] = {
            "Provider.fetch": partial(fetch, _NAMES, 0, minutes),
            "polars, one Parquet file": lambda: pl.read_parquet(one).height,
        }
        taken: dict[str, list[float]] = {name: [] for name in reads}
        for _ in range(rounds):
            for name, read in reads.items():
                began = time.perf_counter()
                if read() != minutes * SYMBOLS:
                    raise RuntimeError(f"{name} gave other rows than asked for")
                taken[name].append((time.perf_counter() - began) * 1_000)
        crowd, seconds = _crowd(fetch)
    return taken, crowd, seconds


def _crowd(fetch: Callable[[list[str], int, int], int]) -> tuple[list[float], float]:
    """Fetch from many threads at once: each five symbols, and ten days out of the first twenty."""
    chance, ready = random.Random(1), Barrier(_CROWD + 1)
    length = _CROWD_DAYS * 1_440
    asked = [(sorted(chance.sample(_NAMES, 5)), chance.randrange(_CROWD_DAYS) * 1_440) for _ in range(_CROWD)]

    def one(names: list[str], first: int) -> float:
        ready.wait()
        began = time.perf_counter()
        if fetch(names, first, length) != len(names) * length:
            raise RuntimeError("a fetch of the crowd gave other rows than asked for")
        return (time.perf_counter() - began) * 1_000

    with ThreadPoolExecutor(_CROWD) as pool:
        running = [pool.submit(one, *each) for each in asked]
        ready.wait()
        began = time.perf_counter()
        taken = [future.result() for future in running]
        return taken, time.perf_counter() - began


def ingest(broker: Broker, folder: Path) -> tuple[float, float]:
    """Return the rows a second of the normalizer and of the archiver behind it."""
    contract = Contract.load()
    bench = Workbench(broker, contract, bars.bars(_INGEST_ROWS, contract), uuid.uuid4().hex[:6])
    job = SeamlessNormalizer()
    task, _ = job.assign(bench, "ingest", _INGEST_ROWS, folder)
    log = folder / "normalizer.log"
    normalized = _rate(job.command(task), log, lambda: broker.visible_offsets(task.output_topic), _INGEST_ROWS)
    config = folder / "seamless.toml"
    url = {"SEAMLESS_ARCHIVE__URL": str(folder / "archive")}
    settings = load_settings(config, env={**os.environ, **url})
    reader = ArchiveReader(settings)

    def archived() -> int:
        snapshot = reader.snapshot(DATASET)
        return 0 if snapshot is None else int(snapshot.files["num_records"].sum())

    seamless = str(Path(sys.executable).parent / "seamless")
    command = Command([seamless, "archive", "run", "--dataset", DATASET, "--config", str(config)], url)
    # The rest is no full commit, and waits for the interval.
    return normalized, _rate(command, folder / "archiver.log", archived, _INGEST_ROWS - settings.archive.commit_rows)


def _rate(command: Command, log: Path, done: Callable[[], int], wanted: int) -> float:
    """Return the rows a second of a process, from the first that are there until so many are."""
    process = start_job(command, log)
    try:
        seen: list[tuple[float, int]] = []
        deadline = time.monotonic() + _DEADLINE_S
        while not seen or seen[-1][1] < wanted:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{command.arguments} did not finish:\n{log.read_text()[-2_000:]}")
            if (rows := done()) > (seen[-1][1] if seen else 0):
                seen.append((time.monotonic(), rows))
            time.sleep(0.02)
    finally:
        stop_job(process)
    (began, before), (ended, after) = seen[0], seen[-1]
    return (after - before) / (ended - began)


def main(
    rounds: Annotated[int, typer.Option(min=3, help="Rounds of the large fetch.")] = 15,
    only: Annotated[Part | None, typer.Option(help="Measure this alone.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure fetches against polars, a crowd of them, and the archiver against the normalizer."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    figures: dict[str, float] = {}
    table = Table("measure", "figure", "wanted", box=None)
    with tempfile.TemporaryDirectory(prefix="seamless-bench-") as name, running_broker(None, None, console) as broker:
        if only in (None, Part.FETCH):
            taken, crowd, seconds = fetches(broker, Path(name), rounds)
            ours, base = taken.values()
            ratio = median(a / b for a, b in zip(ours, base, strict=True))
            figures |= {"fetch_ms": median(ours), "polars_ms": median(base), "fetch / polars": ratio}
            p50, p99 = (float(p) for p in np.percentile(crowd, [50, 99]))
            figures |= {"crowd_s": seconds, "crowd_p50_ms": p50, "crowd_p99_ms": p99}
            table.add_row(f"a fetch of {_ROWS:,} rows", f"{median(ours):.0f} ms", "")
            table.add_row("polars, one Parquet file", f"{median(base):.0f} ms", "")
            table.add_row("fetch / polars", f"{ratio:.2f}", at_most(FETCH, ratio))
            table.add_row(f"{_CROWD} fetches of 72,000 rows at once", f"{seconds:.1f} s", "")
            table.add_row("each of them, p50 and p99", f"{p50:,.0f} ms, {p99:,.0f} ms", "")
        if only in (None, Part.INGEST):
            (folder := Path(name) / "ingest").mkdir()
            normalizer, archiver = ingest(broker, folder)
            ratio = archiver / normalizer
            figures |= {"normalizer_rows_s": normalizer, "archiver_rows_s": archiver, "archiver / normalizer": ratio}
            table.add_row("the normalizer", f"{normalizer:,.0f} rows/s", "")
            table.add_row("the archiver", f"{archiver:,.0f} rows/s", "")
            table.add_row("archiver / normalizer", f"{ratio:.2f}", at_least(ARCHIVE_INGEST, ratio))
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
