"""What the measures of backfill share: a file of bars, a world, workers as processes, and what their topics tell."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bars import SYMBOLS, bars
from benchmarks.contract import Contract
from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest, JobStatus
from coordinator.shards import Progress
from streams import topics
from streams.registry import Registry
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import Settings, load_settings
from streams.topic_admin import TopicAdmin

__all__ = ["DATASET", "BenchWorld", "until", "write_bars"]

DATASET = "bars"
PARTITIONS = 16
FIRST = datetime(2025, 1, 1, tzinfo=UTC)


def write_bars(path: Path, rows: int) -> None:
    """Write bars as Parquet, ordered by time and then by symbol."""
    pq.write_table(pa.Table.from_batches([bars(rows, Contract.load())]), path, row_group_size=100_000)


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; RuntimeError after the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.05)


class BenchWorld:
    """A world of one measurement, with a dataset of one-minute bars around the clock."""

    def __init__(self, bootstrap: str, registry_url: str, folder: Path, name: str, **backfill: object) -> None:
        self.settings = _settings(bootstrap, registry_url, folder, name, backfill)
        TopicAdmin(self.settings.kafka, timeout=60).apply(topics.topics_for(self.settings))
        with Registry(self.settings.registry) as registry:
            register_subjects(registry, wanted_subjects(self.settings))
        self._folder, self._name = folder, name
        self._config = folder / f"{name}.toml"
        self.coordinator = LocalBackfillCoordinator(self.settings, deadline_s=120)

    def request(self, source: Path, rows: int, target_rows: int, symbols: Sequence[str] = SYMBOLS) -> JobStatus:
        """Ask for the first bars of a file."""
        return self.coordinator.request(
            BackfillRequest(
                dataset=DATASET,
                symbols=tuple(symbols),
                start=FIRST,
                end=FIRST + timedelta(minutes=rows // len(SYMBOLS)),
                source=f"files:{source}",
                target_rows=target_rows,
            )
        ).job

    def finish(self, job: JobStatus, seconds: float = 600) -> list[Progress]:
        """Wait until a job is done; return its shards."""
        until(lambda: self.coordinator.job(job.id).state == "done", seconds, f"the end of {job.id}")
        return self.shards(job)

    def shards(self, job: JobStatus) -> list[Progress]:
        """Return the shards of a job as they are."""
        with self.coordinator.reading() as view:
            return list(view.shards_of(job.id))

    def worker(self, slots: int) -> subprocess.Popen[bytes]:
        """Start a worker."""
        command = [str(Path(sys.executable).parent / "seamless"), "worker", "--slots", str(slots)]
        with (self._folder / f"{self._name}.log").open("ab") as log:
            return subprocess.Popen([*command, "--config", str(self._config)], stdout=log, stderr=log, env=os.environ)

    @contextmanager
    def workers(self, count: int, slots: int) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run workers while the block runs; it may replace some in the list."""
        running = [self.worker(slots) for _ in range(count)]
        try:
            yield running
        finally:
            for process in running:
                process.kill()
                process.wait()
            self.coordinator.close()


def _settings(bootstrap: str, registry_url: str, folder: Path, name: str, backfill: dict[str, object]) -> Settings:
    lines = [
        f'world = "{name}"',
        f'kafka.bootstrap_servers = "{bootstrap}"',
        f'registry.url = "{registry_url}"',
        f"topics.shard_partitions = {PARTITIONS}",
        f'datasets.{DATASET} = {{ contract = "ohlcv", interval = "1m", mode = "blocking" }}',
        *(f"backfill.{key} = {value}" for key, value in backfill.items()),
    ]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_settings(path, env={})
