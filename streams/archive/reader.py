"""Reading the archive: rows by symbol and time, the newest of each identity, now or as known at some moment.

A snapshot is one version of a table: it reads the same rows whatever is appended, corrected or compacted meanwhile, and
says up to which offset of each partition it holds everything, so that a reader can go on in Kafka from there.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.columns import arrow_type, neutral
from schemas.contract import Contract
from streams.archive.fingerprint import Fingerprint
from streams.archive.layout import AS_OF, OFFSET, PARTITION, SYSTEM, TOPIC, Layout, Source, sources_of
from streams.archive.newest import newest_rows, only_rows
from streams.archive.pruning import files_with
from streams.archive.table import DatasetTable, Snapshot
from streams.archive.within import within
from streams.clock import Deadline
from streams.errors import ArchiveError, SettingsError
from streams.settings import Settings

__all__ = ["ArchiveReader", "ArchiveRows", "ArchiveSnapshot", "as_users_want", "nanoseconds"]

Moment = datetime | int
"""An aware datetime, or nanoseconds since the epoch."""

# How far a correction may move a row's event time, where that is no part of its identity: rows so far outside of what
# is asked for are read too, so that they can be found out to be newer (or older) than one inside.
_MOVED_NS = 60_000_000_000
_UNITS = {"timestamp-millis": "ms", "timestamp-micros": "us", "timestamp-nanos": "ns"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(moment: Moment) -> int:
    """Return a moment as nanoseconds since the epoch; SettingsError if it has no time zone."""
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise SettingsError(f"{moment.isoformat()} has no time zone: give one, such as datetime.UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


@dataclass(frozen=True)
class ArchiveRows:
    """What a read found.

    Attributes:
        frame: the contract's columns, times as UTC datetimes of the contract's resolution, as a subscription has them;
            one row per identity, ordered by event time, symbol and what else identifies a row.
        contract, contract_version: whose columns these are.
    """

    frame: pl.DataFrame
    contract: Contract
    contract_version: int

    def arrow(self) -> pa.Table:
        """Return the rows in the contract's plain Arrow types."""
        return plain_table(self.frame, self.contract)

    @cached_property
    def fingerprint(self) -> str:
        """The canonical hash of the content; see `streams.archive.fingerprint`."""
        return Fingerprint(self.contract, self.contract_version).add(self.arrow()).hexdigest()


class ArchiveSnapshot:
    """One version of a dataset's table; may be shared between threads.

    Attributes:
        version: of the table.
        contract, contract_version: the newest under which rows were archived; results have its columns.
        positions: for each partition of the two topics, the offset up to which (and without which) the snapshot holds
            everything; what is not in it was never archived.
        files: a row per file with its statistics.
        url: where the table is.
    """

    def __init__(self, snapshot: Snapshot, settings: Settings, dataset: str) -> None:
        wanted = settings.dataset(dataset)
        self.dataset, self.version = dataset, snapshot.version
        self.contract, self.contract_version = snapshot.contract, snapshot.contract_version
        self.layout: Layout = snapshot.layout
        self.positions: dict[Source, int] = snapshot.positions(sources_of(settings.world, dataset, wanted.partitions))
        self.files = snapshot.files()
        self._schema = pl.DataFrame(self.layout.schema.empty_table()).schema
        self.url, self._options = snapshot.url, snapshot.options
        # Whether any read has found two rows of one identity: then the next ones expect it.
        self._corrected = False

    def read(
        self,
        symbols: Collection[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        as_of: Moment | None = None,
        deadline: Deadline | None = None,
    ) -> ArchiveRows:
        """Return the newest row of each identity, from `start` up to (and without) `end`.

        Args:
            symbols: None for all.
            as_of: only what was known then; None for now.
            deadline: how long to wait for the storage.

        Raises:
            ArchiveUnavailable: if the storage does not answer, or not in time.
        """
        bounds = [None if m is None else nanoseconds(m) for m in (start, end)]
        known = None if as_of is None else nanoseconds(as_of) // 1_000_000
        names = None if symbols is None else sorted(set(symbols))

        def read() -> ArchiveRows:
            return self._read(names, bounds[0], bounds[1], known)

        return within(deadline, read, f"reading {self.dataset} from the archive")

    def _read(self, symbols: list[str] | None, start: int | None, end: int | None, as_of: int | None) -> ArchiveRows:
        own = self.contract.columns.names
        frame = None if self._corrected else only_rows(self._scan(own, symbols, start, end, as_of), self.contract)
        if frame is None:
            self._corrected = True
            frame = newest_rows(self._scan([*own, *SYSTEM], symbols, start, end, as_of), self.contract)
        if self._moves and (start is not None or end is not None):
            frame = frame.filter(*self._within(start, end))
        return ArchiveRows(as_users_want(frame, self.contract), self.contract, self.contract_version)

    def stored(
        self, symbols: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> pl.DataFrame:
        """Return all rows of a range, superseded ones too, in no order, with the contract's columns and the system's.

        This is for whoever holds further rows against them, see `streams.archive.newest`.

        Args:
            symbols: None for all.
            start, end: nanoseconds since the epoch; None for no limit.

        Raises:
            ArchiveUnavailable: if the storage does not answer.
        """
        names = None if symbols is None else sorted(set(symbols))
        return self._scan([*self.contract.columns.names, *SYSTEM], names, start, end, None)

    def times(
        self, symbols: list[str] | None, start: int | None, end: int | None, deadline: Deadline | None = None
    ) -> pl.DataFrame:
        """Return only `symbol` and `time` (nanoseconds since the epoch) of the rows, each pair once, sorted by both."""
        contract = self.contract
        time = pl.col(contract.event_time)
        nanos = time if self.layout.time_is_stored_as_number else time.dt.epoch("us") * 1_000

        def read() -> pl.DataFrame:
            rows = self._scan([contract.key, contract.event_time], symbols, start, end, None)
            pairs = rows.select(pl.col(contract.key).alias("symbol"), nanos.alias("time"))
            return pairs.unique().sort("symbol", "time")

        return within(deadline, read, f"reading times of {self.dataset} from the archive")

    def symbols(self, deadline: Deadline | None = None) -> list[str]:
        """Return all symbols that have a row, sorted."""
        key = self.contract.key

        def read() -> list[str]:
            return sorted(self._lazy([key], None, None, None, None).unique().collect(engine="streaming")[key].to_list())

        return within(deadline, read, f"reading the symbols of {self.dataset} from the archive")

    def offsets(self) -> dict[tuple[str, int], npt.NDArray[np.int64]]:
        """Return the offsets of all rows by topic (`history`, `normalized`) and partition, older ones too."""
        rows = self._scan([TOPIC, PARTITION, OFFSET], None, None, None, None)
        parts = rows.partition_by([TOPIC, PARTITION], as_dict=True)
        return {(str(t), int(p)): part[OFFSET].to_numpy().astype(np.int64) for (t, p), part in parts.items()}

    def span(self) -> tuple[int, int] | None:
        """Return where the first row is and where the last one, nanoseconds since the epoch, by the table's statistics.

        They are told to the millisecond, rounded outwards. None if there is no row.
        """
        time = self.contract.event_time
        names = f"min.{time}", f"max.{time}"
        if not set(names) <= set(self.files.columns) or not self.files.height:
            return None
        first, last = (self.files[name].drop_nulls() for name in names)
        if not len(first) or not len(last):
            return None
        if self.layout.time_is_stored_as_number:
            return int(first.min()), int(last.max())  # type: ignore[arg-type]
        return int(first.dt.epoch("us").min()) * 1_000, (int(last.dt.epoch("us").max()) + 999) * 1_000  # type: ignore[arg-type]

    @property
    def _moves(self) -> bool:
        """Whether a newer row of an identity may be at another time."""
        return self.contract.event_time not in self.contract.identity

    def _scan(
        self, wanted: list[str], symbols: list[str] | None, start: int | None, end: int | None, as_of: int | None
    ) -> pl.DataFrame:
        return self._lazy(wanted, symbols, start, end, as_of).collect()

    def _lazy(
        self, wanted: list[str], symbols: list[str] | None, start: int | None, end: int | None, as_of: int | None
    ) -> pl.LazyFrame:
        margin = _MOVED_NS if self._moves else 0
        start = None if start is None else start - margin
        end = None if end is None else end + margin
        files = files_with(self.files, self.layout, symbols, start, end, as_of)
        if not files.height:
            return pl.LazyFrame(schema=self._schema).select(wanted)
        conditions = self._within(start, end)
        if symbols is not None:
            conditions.append(pl.col(self.contract.key).is_in(symbols))
        if as_of is not None:
            conditions.append(pl.col(AS_OF) <= as_of)
        schema = {name: kind for name, kind in self._schema.items() if name != self.layout.period}
        scan = pl.scan_parquet(
            [f"{self.url}/{path}" for path in files["path"]],
            schema=schema,
            hive_partitioning=False,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=self._options,
            glob=False,
        )
        return scan.filter(*conditions).select(wanted) if conditions else scan.select(wanted)

    def _within(self, start: int | None, end: int | None) -> list[pl.Expr]:
        time = pl.col(self.contract.event_time)
        kind = self._schema[self.contract.event_time]

        def literal(nanos: int) -> pl.Expr:
            if self.layout.time_is_stored_as_number:
                return pl.lit(self.layout.time_value(nanos), pl.Int64)
            return pl.lit(-(-nanos // 1_000), pl.Int64).cast(kind)

        conditions = [] if start is None else [time >= literal(start)]
        return conditions if end is None else [*conditions, time < literal(end)]


class ArchiveReader:
    """Opens snapshots of the datasets of one world; may be shared between threads, and asks for no broker.

    What is read of a table's log is kept, so a second snapshot costs little.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[str, tuple[Snapshot, ArchiveSnapshot]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def snapshot(self, dataset: str, *, deadline: Deadline | None = None) -> ArchiveSnapshot | None:
        """Return the newest version of a dataset's table; None if nothing was archived yet.

        Raises:
            SettingsError: if the dataset is not configured.
            ArchiveUnavailable: if the storage does not answer, or not in time.
        """
        self._settings.dataset(dataset)
        return within(deadline, lambda: self._open(dataset), f"opening {dataset} in the archive")

    def read(
        self,
        dataset: str,
        symbols: Collection[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        as_of: Moment | None = None,
        deadline: Deadline | None = None,
    ) -> ArchiveRows:
        """Read from the newest version of a dataset's table; the arguments are those of `ArchiveSnapshot.read`.

        Raises:
            ArchiveError: if nothing of the dataset was archived yet.
        """
        snapshot = self.snapshot(dataset, deadline=deadline)
        if snapshot is None:
            raise ArchiveError(f"nothing of {dataset} is archived: `seamless archive run` does it")
        return snapshot.read(symbols, start, end, as_of, deadline)

    def _open(self, dataset: str) -> ArchiveSnapshot | None:
        with self._lock:
            lock = self._locks.setdefault(dataset, threading.Lock())
        with lock:
            kept = self._kept.get(dataset)
            if kept is not None and kept[0].refresh() == kept[1].version:
                return kept[1]
            snapshot = kept[0] if kept is not None else DatasetTable(self._settings, dataset).load()
            if snapshot is None:
                return None
            made = ArchiveSnapshot(snapshot, self._settings, dataset)
            self._kept[dataset] = snapshot, made
            return made


def plain_table(frame: pl.DataFrame, contract: Contract) -> pa.Table:
    """Return users' columns in the contract's plain Arrow types."""
    times = [f.name for f in contract.record.fields.values() if f.logical in _UNITS]
    table = frame.with_columns(pl.col(times).to_physical()).to_arrow()
    return table.select(contract.columns.names).cast(contract.columns)


def as_users_want(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return stored columns with times as UTC datetimes of the contract's resolution, and defaults where due."""
    columns: list[Any] = []
    for field in contract.record.fields.values():
        if field.name not in frame.columns:
            continue
        column = pl.col(field.name)
        if field.logical in _UNITS:
            column = column.cast(pl.Datetime(_UNITS[field.logical], "UTC"))  # type: ignore[arg-type]
        if not field.nullable and frame[field.name].null_count():  # written before the contract had the field
            column = column.fill_null(pl.lit(neutral(field), pl.DataFrame(
                pa.table({"x": pa.array([], arrow_type(field))})).schema["x"]))  # fmt: skip
        columns.append(column)
    return frame.select(columns)
