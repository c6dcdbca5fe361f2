"""Parquet and CSV files as one lazy table whose symbols and times can be asked for, whatever the vendor called them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from glob import glob, has_magic
from hashlib import blake2b
from pathlib import Path

import polars as pl

from coordinator.source import SourceError
from schemas.contract import Contract
from schemas.mapping import column_of
from schemas.times import read_times
from streams.files import columns_of_contract

__all__ = ["KEY", "TIME", "Table", "first_line", "open_table"]

# Columns that are added to the vendor's: the symbol as text, and the event time in the contract's units.
KEY = "__seamless_key"
TIME = "__seamless_time"

_SUFFIXES = {".parquet", ".csv"}
_FAILURES = (OSError, pl.exceptions.PolarsError)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = -2_208_988_800 * 10**9, 7_258_118_400 * 10**9  # the years that are believed: 1900 to 2199
_SLACK = 26 * 3_600 * 10**9  # no zone is further from UTC than that
_UNITS = (10**9, 10**6, 10**3, 1)  # nanoseconds in the units that a number may count


@dataclass(frozen=True)
class Table:
    """Files as one lazy frame.

    Attributes:
        name: the specification, for messages.
        remote: whether the files are at a URL, so that trying again may help.
        fingerprint: another one where a file was changed, added or removed.
    """

    name: str
    remote: bool
    fingerprint: str
    frame: pl.LazyFrame
    contract: Contract
    zone: str
    key: str
    time: str
    kind: pl.DataType

    def between(self, symbols: list[str], start: int, end: int) -> pl.LazyFrame:
        """Return the rows of symbols with start <= event time < end, in nanoseconds since the epoch.

        What the files' own types allow is filtered while they are read; the columns `KEY` and `TIME` then decide.
        """
        to_nanos = 10**9 // self.contract.time_units
        rough = _roughly(pl.col(self.time), self.kind, max(start, _EARLIEST), min(end, _LATEST), self.zone)
        chosen = self.frame.filter(self._symbol().is_in(symbols))
        if rough is not None:
            chosen = chosen.filter(rough)
        chosen = chosen.with_columns(self._symbol().alias(KEY), self._moment())
        return chosen.filter(pl.col(TIME).is_between(-(-start // to_nanos), -(-end // to_nanos), closed="left"))

    def untimed(self) -> pl.LazyFrame:
        """Return the rows whose time cannot be read."""
        return self.frame.select(self._moment()).filter(pl.col(TIME).is_null())

    def _symbol(self) -> pl.Expr:
        return pl.col(self.key).cast(pl.String, strict=False)

    def _moment(self) -> pl.Expr:
        units, zone = self.contract.time_units, self.zone

        def read(raw: pl.Series) -> pl.Series:
            times = read_times(raw, None, units, zone)
            return pl.Series(raw.name, times.values, pl.Int64).set(pl.Series(times.invalid | times.missing), None)

        # Row by row in any case, and so in pieces of any size.
        return pl.col(self.time).map_batches(read, return_dtype=pl.Int64, is_elementwise=True).alias(TIME)

    def collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """Return what a query finds.

        Raises:
            SourceError: if the files cannot be read; retryable where they are remote.
        """
        try:
            return frame.collect(engine="streaming")
        except _FAILURES as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: Exception) -> SourceError:
        """Return what to raise for an error of reading."""
        return _unreadable(self.name, error, remote=self.remote)


def open_table(name: str, contract: Contract, zone: str) -> Table:
    """Return the files that a path, a glob or a URL names.

    Raises:
        SourceError: if there are none, one cannot be read, or the contract finds a column missing.
    """
    remote = "://" in name
    if Path(name.partition("?")[0]).suffix.lower() not in _SUFFIXES:
        raise SourceError(
            f"files:{name}: give a path, a glob or a URL that ends in .parquet or .csv, as in files:bars/*.parquet",
            retryable=False,
        )
    paths = [name] if remote else _local(name)
    try:
        frames = [_scan(path, contract) for path in paths]
        frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")
        schema = frame.collect_schema()
        fingerprint = _of_rows(frame, schema) if remote else _of_files(paths)
    except _FAILURES as error:
        raise _unreadable(name, error, remote=remote) from error
    have = set(schema.names())
    missing = [
        f"{field.name} (or {', '.join(field.aliases)})" if field.aliases else field.name
        for field in contract.record.fields.values()
        if not (field.has_default and field.name not in {contract.key, contract.event_time})
        and column_of(contract, field.name, have) is None
    ]
    if missing:
        raise SourceError(
            f"files:{name}: there is no column {'; no column '.join(missing)}. It has {', '.join(sorted(have))}. "
            f"Rename columns, or give the contract {contract.name} aliases.",
            retryable=False,
        )
    key, time = (column_of(contract, n, have) or "" for n in (contract.key, contract.event_time))
    return Table(name, remote, fingerprint, frame, contract, zone, key, time, schema[time])


def first_line(error: Exception) -> str:
    """Return what an error says, without the query plans that polars adds."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _local(name: str) -> list[str]:
    """Return the files of a path or glob, in the order of their names."""
    pattern = str(Path(name).expanduser())
    paths = sorted(p for p in glob(pattern, recursive=True) if Path(p).is_file())  # noqa: PTH207 - may be absolute
    if not paths and Path(pattern).is_file():
        return [pattern]  # a name with brackets in it
    if not paths:
        what = "no file matches" if has_magic(pattern) else "there is no such file"
        raise SourceError(
            f"files:{name}: {what} in {Path.cwd()}. Workers read local files themselves: give a path that every "
            "worker has, or a URL.",
            retryable=False,
        )
    return paths


def _scan(path: str, contract: Contract) -> pl.LazyFrame:
    literal = {} if "://" in path else {"glob": False}
    if Path(path.partition("?")[0]).suffix.lower() == ".parquet":
        return pl.scan_parquet(path, **literal)  # type: ignore[arg-type]
    texts = columns_of_contract(contract)
    found = pl.scan_csv(path, infer_schema=False, **literal).collect_schema()  # type: ignore[arg-type]
    known = {column: kind for column, kind in texts.items() if column in found}
    # Types are those that hold in all rows: a column of whole numbers may have its first fraction in the last one.
    schema = pl.scan_csv(path, schema_overrides=known, infer_schema_length=None, **literal).collect_schema()  # type: ignore[arg-type]
    return pl.scan_csv(path, schema=schema, **literal)  # type: ignore[arg-type]


def _of_files(paths: list[str]) -> str:
    stats = [(path, Path(path).stat()) for path in paths]
    return _hash([[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats])


def _of_rows(frame: pl.LazyFrame, schema: pl.Schema) -> str:
    """Of files at a URL only what every store tells: the columns and the number of rows."""
    rows = frame.select(pl.len()).collect(engine="streaming").item()
    return _hash([rows, [[name, str(kind)] for name, kind in schema.items()]])


def _hash(told: list[object]) -> str:
    return blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()


def _unreadable(name: str, error: Exception, *, remote: bool) -> SourceError:
    remedy = "Check the URL and the credentials in the environment." if remote else "Mend or replace the file."
    return SourceError(f"files:{name}: cannot be read: {first_line(error)}. {remedy}", retryable=remote)


def _roughly(column: pl.Expr, kind: pl.DataType, start: int, end: int, zone: str) -> pl.Expr | None:
    """Return a filter that lets through all rows of a range and perhaps some more; None if the type allows none.

    It speaks of the column as it is stored, so that files are read in part where their statistics tell which.
    """
    if isinstance(kind, pl.Datetime):
        slack = _SLACK if kind.time_zone is None and zone != "UTC" else 0
        first, last = _moment(start - slack), _moment(end + slack + 1_000)
        if kind.time_zone is None:
            first, last = first.replace(tzinfo=None), last.replace(tzinfo=None)
        return (column >= pl.lit(first).cast(kind)) & (column <= pl.lit(last).cast(kind))
    if kind == pl.Date:
        days: tuple[date, date] = (_moment(start - _SLACK).date(), _moment(end + _SLACK).date())
        return column.is_between(*days)
    if kind.is_numeric():
        rough = pl.lit(False)
        for unit in _UNITS:
            rough = rough | column.is_between(start // unit - 1, end // unit + 1)
        return rough
    return None


def _moment(nanos: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanos // 1_000)
