"""What tests of the archive need: rows in topics without a normalizer, archivers, and what a table holds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable

from schemas.codec import Encoder
from schemas.contract import Contract
from streams import topics
from streams.archive.archiver import Archiver
from streams.archive.table import DatasetTable
from streams.clients import admin_config, producer_config
from streams.health import Health
from streams.metrics import Metrics
from streams.partitioning import partition_of
from streams.registry import RegisteredSchema
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import Settings
from streams.transactions import TransactionalProducer
from tests.support.bars import good_bar
from tests.support.normalizing import value_of
from tests.support.worlds import DATASET, World, make_world

__all__ = [
    "ArchiveRun",
    "Writer",
    "archive_all",
    "archived",
    "archiving",
    "bars",
    "coordinates",
    "delete_before",
    "make_archive_world",
    "written_coordinates",
]

Row = Mapping[str, Any]


def make_archive_world(stack: Any, name: str, folder: Path, **arguments: Any) -> World:
    """Create a world as `make_world` does, whose archive is a folder of the test's own."""
    wanted = {"url": str(folder / "archive"), "commit_interval_s": 0.2, **arguments.pop("archive", {})}
    world = make_world(stack, name, folder, archive=wanted, **arguments)
    history = topics.subject(topics.history(name, DATASET))
    register_subjects(world.registry, [w for w in wanted_subjects(world.settings) if w.subject == history])
    return world


class Writer:
    """Writes rows into a dataset's topics in transactions, as the normalizer and the workers do."""

    def __init__(self, world: World, schema: RegisteredSchema | None = None) -> None:
        self._world, self._settings = world, world.settings
        self._partitions = world.settings.dataset(DATASET).partitions
        self._producer = TransactionalProducer(
            producer_config(world.settings, transactional_id=f"{world.name}.writer"), 30.0
        )
        self._producer.ready()
        self.use(schema or world.contract_schema)

    def use(self, schema: RegisteredSchema) -> None:
        """Write under another version of the contract from now on."""
        self._contract = Contract.parse(schema.schema)
        self._encoder = Encoder(self._contract.record, schema.id)

    def live(self, rows: Iterable[Row], *, abort: bool = False) -> None:
        """Write rows to the normalized topic in one transaction."""
        self._write(self._world.topic("normalized"), list(rows), None, abort)

    def history(self, rows: Iterable[Row], as_of: int, *, abort: bool = False) -> None:
        """Write rows to the history topic in one transaction, as of a moment in milliseconds."""
        self._write(self._world.topic("history"), list(rows), as_of, abort)

    def raw_bytes(self, value: bytes) -> None:
        """Write something that is no row to the first partition of the normalized topic."""
        self._producer.begin()
        self._producer.send(self._world.topic("normalized"), [value], [b"X"], [0])
        self._producer.commit()

    def close(self) -> None:
        self._producer.close()

    def _write(self, topic: str, rows: list[Row], as_of: int | None, abort: bool) -> None:
        columns = self._contract.columns
        batch = pa.RecordBatch.from_pylist([{n: row.get(n) for n in columns.names} for row in rows], schema=columns)
        keys = [str(row[self._contract.key]) for row in rows]
        headers = None if as_of is None else [("as_of", str(as_of).encode())]
        self._producer.begin()
        where = [partition_of(key, self._partitions) for key in keys]
        payloads = self._encoder.encode(batch)
        self._producer.send(topic, payloads, [k.encode() for k in keys], where, headers=headers)
        if abort:
            self._producer.abort()
        else:
            self._producer.commit()


class ArchiveRun:
    """An archiver inside the test's process; `error` is what ended it."""

    def __init__(self, world: World, *, settings: Settings | None = None, accept_loss: bool = False) -> None:
        self.metrics, self.health = Metrics(world.name), Health()
        chosen = settings or world.settings
        self.archiver = Archiver(chosen, DATASET, world.registry, self.metrics, self.health, accept_loss=accept_loss)
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def to_end(self) -> ArchiveRun:
        """Archive all rows that exist now, in this thread."""
        self.archiver.run(self.stop, until_end=True)
        return self

    def start(self) -> ArchiveRun:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def _work(self) -> None:
        try:
            self.archiver.run(self.stop)
        except BaseException as error:
            self.error = error

    def end(self, seconds: float = 60.0) -> None:
        """Ask it to end and wait until it has."""
        self.stop.set()
        if self._thread is not None:
            self._thread.join(seconds)
            assert not self._thread.is_alive(), "the archiver does not end"

    def value(self, metric: str, **labels: str) -> float:
        """Return a metric's value."""
        return value_of(self.metrics, metric, **labels)


def archive_all(world: World, **arguments: Any) -> ArchiveRun:
    """Archive all rows that exist now; the arguments are those of `ArchiveRun`."""
    return ArchiveRun(world, **arguments).to_end()


@contextmanager
def archiving(world: World, **arguments: Any) -> Iterator[ArchiveRun]:
    """Archive in a thread while the block runs; an error that the test did not look at fails it."""
    run = ArchiveRun(world, **arguments).start()
    try:
        yield run
    finally:
        run.end()
    if run.error is not None:
        raise run.error


def archived(world: World) -> pl.DataFrame:
    """Return every row of the table as it is, read by delta-rs alone."""
    url = DatasetTable(world.settings, DATASET).url
    if not DeltaTable.is_deltatable(url):
        return pl.DataFrame()
    return pl.DataFrame(DeltaTable(url).to_pyarrow_table())


def coordinates(frame: pl.DataFrame) -> Counter[tuple[str, int, int]]:
    """Return how often each record is in a table."""
    if not frame.width:
        return Counter()
    return Counter(frame.select("_topic", "_partition", "_offset").iter_rows())  # type: ignore[arg-type]


def written_coordinates(world: World) -> set[tuple[str, int, int]]:
    """Return every committed record of the dataset's two topics."""
    return {
        (kind, m.partition() or 0, m.offset() or 0)
        for kind in ("normalized", "history")
        for m in world.read(world.topic(kind))
    }


def delete_before(world: World, topic: str, partition: int, offset: int) -> None:
    """Delete the records of a partition that are before an offset, as retention does."""
    admin = AdminClient(admin_config(world.settings))
    for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(30)


def bars(symbols: Iterable[str], minutes: range, price: float = 100.0) -> list[dict[str, Any]]:
    """Return a good bar of each symbol and minute."""
    return [good_bar(s, m, price=price) for m in minutes for s in symbols]
