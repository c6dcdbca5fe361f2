"""How the rows of a dataset lie in its Delta table: columns, types, partitions, order. Pure.

A table has the contract's columns and, behind them, where each row came from (`SYSTEM`) and the period of its event
time, by which files are parted. Times are microseconds of UTC, as Delta knows nothing finer; those in nanoseconds are
kept as whole numbers, exact. Within a file rows are sorted by `order`, so a few row groups hold a symbol's month.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

import polars as pl
import pyarrow as pa

from schemas.avro import AvroField
from schemas.columns import arrow_type, neutral
from schemas.contract import Contract
from streams import topics
from streams.durations import DAY_NS

__all__ = [
    "AS_OF",
    "HISTORY",
    "NORMALIZED",
    "OFFSET",
    "PARTITION",
    "SYSTEM",
    "TOPIC",
    "VERSION",
    "Borders",
    "Layout",
    "Source",
    "app_id",
    "sources_of",
    "table_url",
]

AS_OF, TOPIC, PARTITION, OFFSET, VERSION = "_as_of", "_topic", "_partition", "_offset", "_contract_version"
SYSTEM: dict[str, pa.DataType] = {
    AS_OF: pa.int64(),
    TOPIC: pa.string(),
    PARTITION: pa.int32(),
    OFFSET: pa.int64(),
    VERSION: pa.int32(),
}
"""What a table knows of a row besides its contract's columns.

`_as_of`: milliseconds since the epoch at which the row was known. Of backfilled rows, the moment whose knowledge was
fetched; of live rows, the arrival of their raw record. `_topic`: `normalized` or `history`. `_partition`, `_offset`:
where in it the row is; together they occur once.
"""
NORMALIZED, HISTORY = "normalized", "history"
_STORED_TIMES = {"timestamp-millis", "timestamp-micros"}
_UTC_MICROS = pa.timestamp("us", "UTC")
_Period = Literal["_year", "_month", "_day"]
_TRUNCATE = {"_year": "1y", "_month": "1mo", "_day": "1d"}
_HOUR_NS = DAY_NS // 24


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A partition of a topic that the archive takes rows from."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Borders:
    """The offset of the oldest record that a partition still has, and its end."""

    oldest: int
    end: int


def table_url(archive_url: str, world: str, dataset: str) -> str:
    """Return where the table of a dataset is."""
    return f"{archive_url.rstrip('/')}/{world}/{dataset}"


def sources_of(world: str, dataset: str, partitions: int) -> list[Source]:
    """Return every partition whose rows a dataset's table holds."""
    both = topics.history(world, dataset), topics.normalized(world, dataset)
    return [Source(topic, p) for topic in both for p in range(partitions)]


def app_id(source: Source) -> str:
    """Return the Delta application id whose version is the offset to go on from in a partition."""
    return f"{source.topic}-{source.partition}"


@dataclass(frozen=True)
class Layout:
    """The shape of one dataset's table.

    Attributes:
        contract: whose columns the rows have.
        period: the column by which files are parted, a date: the first day of a row's year, month or day.
    """

    contract: Contract
    period: _Period

    @classmethod
    def of(cls, contract: Contract, interval_ns: int | None) -> Layout:
        """Choose the period so that files grow to a good size: years of days, months of minutes, days of ticks."""
        if interval_ns is None:
            return cls(contract, "_day")
        return cls(contract, "_year" if interval_ns >= _HOUR_NS else "_month")

    @cached_property
    def schema(self) -> pa.Schema:
        """The table's columns. All but the system's may be null, as a later version of the contract may drop them."""
        own = [pa.field(f.name, stored_type(f)) for f in self._fields]
        return pa.schema([*own, *(pa.field(n, t) for n, t in SYSTEM.items()), pa.field(self.period, pa.date32())])

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The columns by which the rows of a file are sorted."""
        return (self.contract.key, self.contract.event_time, AS_OF, OFFSET)

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """The columns whose least and greatest values the log keeps for each file."""
        return (self.contract.key, self.contract.event_time, AS_OF, PARTITION, OFFSET)

    def stored(self, rows: pa.Table) -> pa.Table:
        """Return rows (the contract's plain columns, then the system's) as the table has them, sorted."""
        times = self._periods_of(rows)
        columns = [_to_stored(f, rows.column(f.name)) for f in self._fields]
        columns += [rows.column(n) for n in SYSTEM]
        table = pa.Table.from_arrays([*columns, times], schema=self.schema)
        return self.sorted(table)

    def sorted(self, table: pa.Table) -> pa.Table:
        """Return stored rows in the order of a file, one period after the other."""
        frame = pl.DataFrame(table).sort(self.period, *self.order)
        return frame.to_arrow().cast(table.schema)

    def plain(self, table: pa.Table) -> pa.Table:
        """Return the contract's columns of stored rows, as every codec and rule has them."""
        columns = [_to_plain(f, table.column(f.name)) for f in self._fields]
        return pa.Table.from_arrays(columns, schema=self.contract.columns)

    def time_value(self, nanos: int) -> int:
        """Return a time (nanoseconds since the epoch) in the contract's units, rounded up."""
        return -(-nanos // (1_000_000_000 // self.contract.time_units))

    def period_of(self, nanos: int) -> date:
        """Return the period in which a time lies."""
        micros = pl.Series([nanos // 1_000], dtype=pl.Int64).cast(pl.Datetime("us"))
        found: date = micros.dt.truncate(_TRUNCATE[self.period]).dt.date()[0]
        return found

    @property
    def time_is_stored_as_number(self) -> bool:
        """Whether event times are whole numbers in the table, as Delta has no type for them."""
        return self.contract.record.fields[self.contract.event_time].logical not in _STORED_TIMES

    @property
    def _fields(self) -> Sequence[AvroField]:
        return [f for f in self.contract.record.fields.values() if f.type != "complex"]

    def _periods_of(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return the period of each row's event time."""
        times = pl.Series(rows.column(self.contract.event_time))
        micros = _micros(times, self.contract.time_units).cast(pl.Datetime("us"))
        days = micros.dt.truncate(_TRUNCATE[self.period]).dt.date()
        return pa.chunked_array([days.to_arrow()], pa.date32())


def _micros(times: pl.Series, per_second: int) -> pl.Series:
    return times * (1_000_000 // per_second) if per_second <= 1_000_000 else times // (per_second // 1_000_000)


def stored_type(field: AvroField) -> pa.DataType:
    """Return the type of a contract's column in the table."""
    return _UTC_MICROS if field.logical in _STORED_TIMES else arrow_type(field)


def _to_stored(field: AvroField, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if field.logical == "timestamp-millis":
        return column.cast(pa.timestamp("ms", "UTC")).cast(_UTC_MICROS)
    return column.cast(stored_type(field))


def _to_plain(field: AvroField, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if field.logical == "timestamp-millis":
        return column.cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
    wanted = arrow_type(field)
    if column.null_count and not field.nullable:  # written before the contract had the field
        column = column.fill_null(pa.scalar(neutral(field), column.type))
    return column.cast(wanted)
