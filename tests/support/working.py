"""Workers inside a test's process, each in a thread of its own, and what their shards are fetched from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest, JobStatus
from coordinator.slot_kit import Guards
from coordinator.worker import Worker
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from streams.health import Health
from streams.metrics import Metrics
from streams.settings import Settings
from tests.support.bars import MINUTE, START, good_bar
from tests.support.normalizing import value_of
from tests.support.progress import until
from tests.support.worlds import DATASET, World

__all__ = ["Running", "asked", "finished_job", "history", "job_now", "minute", "source_of_bars", "working"]


class Running:
    """A worker with what it tells the outside; `error` is what ended it."""

    def __init__(
        self,
        world: World,
        *,
        settings: Settings | None = None,
        guards: Guards | None = None,
        silence_limit: float | None = None,
    ) -> None:
        self.metrics, self.health = Metrics(world.name), Health(silence_limit=silence_limit)
        chosen = settings or world.settings
        self.worker = Worker(chosen, world.registry, self.metrics, self.health, guards=guards)
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self.worker.run(self.stop)
        except BaseException as error:
            self.error = error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def end(self, seconds: float = 60.0) -> None:
        """Ask it to end and wait until it has."""
        self.stop.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the worker does not end"

    def value(self, metric: str, **labels: str) -> float:
        """Return a metric's value."""
        return value_of(self.metrics, metric, **labels)


@contextmanager
def working(world: World, **arguments: object) -> Iterator[Running]:
    """Work while the block runs; an error that the test did not look at fails it."""
    run = Running(world, **arguments)  # type: ignore[arg-type]
    try:
        yield run
    finally:
        run.end()
    if run.error is not None:
        raise run.error


def minute(number: int) -> datetime:
    """Return the event time of a minute's bar."""
    return datetime.fromtimestamp(START / 1e6, UTC) + timedelta(minutes=number)


def source_of_bars(folder: Path, symbols: list[str], minutes: int, *, name: str = "bars.parquet") -> str:
    """Write good bars of all symbols to a file, oldest first, and return the source that reads them."""
    bars = [good_bar(symbol, at, price=100 + at % 7) for at in range(minutes) for symbol in symbols]
    pq.write_table(pa.Table.from_pylist(bars), folder / name, row_group_size=5_000)
    return f"files:{folder / name}"


def asked(world: World, source: str, symbols: list[str], minutes: int, **changes: object) -> JobStatus:
    """Request the first minutes of symbols, and return the job."""
    wanted = {
        "dataset": DATASET,
        "symbols": tuple(symbols),
        "start": minute(0),
        "end": minute(minutes),
        "source": source,
        **changes,
    }
    coordinator = LocalBackfillCoordinator(world.settings)
    try:
        return coordinator.request(BackfillRequest.model_validate(wanted)).job
    finally:
        coordinator.close()


def finished_job(world: World, job: str, *, seconds: float = 60.0, state: str = "done") -> JobStatus:
    """Wait until a job is in a state, and return it."""
    coordinator = LocalBackfillCoordinator(world.settings)
    try:
        until(lambda: coordinator.job(job).state == state, seconds, f"{job} {state}", lambda: str(coordinator.job(job)))
        return coordinator.job(job)
    finally:
        coordinator.close()


def job_now(world: World, job: str) -> JobStatus:
    """Return a job as it is."""
    coordinator = LocalBackfillCoordinator(world.settings)
    try:
        return coordinator.job(job)
    finally:
        coordinator.close()


def history(world: World) -> list[tuple[str, int]]:
    """Return symbol and minute of all committed rows of the history topic, sorted."""
    codec = ReferenceCodec(parse_record(world.contract_schema.schema), world.contract_schema.id)
    columns, _, bad = codec.decode([m.value() or b"" for m in world.read(world.topic("history"))])
    assert not bad
    times = columns.column("event_time").cast(pa.int64()).to_pylist()
    symbols = columns.column("symbol").to_pylist()
    return sorted((symbol, (time - START) // MINUTE) for symbol, time in zip(symbols, times, strict=True))
