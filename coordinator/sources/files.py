"""Parquet and CSV files as a source of history, on a disk or at an object store's URL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import polars as pl

from coordinator.source import Source, SourceBatch, SourceContext, SourceError
from coordinator.sources.tables import KEY, TIME, Table, open_table
from schemas.gathering import one_batch
from streams.log import get_logger

__all__ = ["FileSource", "open_files"]

_BATCH_ROWS = 20_000
# Rows that are held and sorted at once. A longer range is read in windows of time that hold no more.
_WINDOW_ROWS = 50_000
_BUCKETS = 256

log = get_logger(__name__)


def open_files(rest: str, context: SourceContext) -> Source:
    """Return the source of `files:PATH`, `files:GLOB` or `files:URL`; relative paths are of the working folder.

    Raises:
        SourceError: if nothing is there, it cannot be read, or has not the contract's columns.
    """
    return FileSource(open_table(rest, context.contract, context.wanted.timezone))


class FileSource:
    """Gives a table's rows in the order of event time and symbol; equal ones in the order of the files.

    The cursor is the window that is read and how many of its rows were given. Windows follow from the rows alone, so
    in files that nobody touched it is the same place for everybody; files that were touched are told by their
    fingerprint (names, sizes and modification times; at a URL columns and number of rows), and refused.

    Rows whose time cannot be read are of no range and are given to nobody; `estimate` counts them in the log.

    Args:
        window_rows, batch_rows: most rows that are held, and given at once. At one single instant there may be more.
    """

    def __init__(self, table: Table, *, window_rows: int = _WINDOW_ROWS, batch_rows: int = _BATCH_ROWS) -> None:
        self._table, self._window_rows, self._batch_rows = table, window_rows, batch_rows
        self._to_nanos = 10**9 // table.contract.time_units
        self._counted = False

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        """Return exactly how many rows a range holds, from the two columns that decide it.

        Raises:
            SourceError: if the files cannot be read.
        """
        rows: int = self._table.collect(self._table.between(list(symbols), start, end).select(pl.len())).item()
        if not self._counted:
            self._counted = True
            untimed = self._table.collect(self._table.untimed().select(pl.len())).item()
            if untimed:
                log.warning("rows_without_time", source=f"files:{self._table.name}", rows=untimed)
        return rows

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        """Yield the rows; see `coordinator.source.Source`.

        Raises:
            SourceError: not retryable, if the files were changed since the cursor; otherwise if they cannot be read.
        """
        begin, done = self._place(cursor)
        wanted = sorted(symbols)
        first, last = -(-start // self._to_nanos), -(-end // self._to_nanos)
        for low, frame in self._windows(wanted, first, last, first if begin is None else begin):
            rows = frame.sort(TIME, KEY, maintain_order=True).drop(TIME, KEY)
            for at in range(done if low == begin else 0, rows.height, self._batch_rows):
                piece = rows.slice(at, self._batch_rows)
                place = {"files": self._table.fingerprint, "window": low, "rows": at + piece.height}
                yield SourceBatch(one_batch(piece), json.dumps(place, separators=(",", ":")))

    def close(self) -> None:
        """Nothing is held open."""

    def _place(self, cursor: str | None) -> tuple[int | None, int]:
        """Return (beginning of the window, rows given of it)."""
        if cursor is None:
            return None, 0
        try:
            place = json.loads(cursor)
            fingerprint, window, rows = place["files"], int(place["window"]), int(place["rows"])
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"files:{self._table.name}: {cursor!r} is no cursor of it", retryable=False) from error
        if fingerprint != self._table.fingerprint:
            raise SourceError(
                f"files:{self._table.name}: the files were changed after part of the shard was fetched, so nobody can "
                "tell which rows are left. Put the old files back and retry the shard, or request the range again with "
                "an as_of of now: that is fetched anew from its beginning.",
                retryable=False,
            )
        return window, rows

    def _windows(self, symbols: list[str], low: int, high: int, begin: int) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield (beginning, rows) of windows that hold no more rows than allowed, from the one at `begin` on."""
        if low >= high or high <= begin:
            return
        if low >= begin or high - low == 1:
            # Most shards are one window: what fits is found in one reading of the files.
            frame = self._table.collect(self._between(symbols, low, high).head(self._window_rows + 1))
            if frame.height <= self._window_rows:
                yield low, frame
                return
            if high - low == 1:
                yield low, self._table.collect(self._between(symbols, low, high))
                return
            del frame
        for start, stop in self._cut(symbols, low, high):
            yield from self._windows(symbols, start, stop, begin)

    def _between(self, symbols: list[str], low: int, high: int) -> pl.LazyFrame:
        return self._table.between(symbols, low * self._to_nanos, high * self._to_nanos)

    def _cut(self, symbols: list[str], low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield pieces of a window, each with as many rows as it may have, or else one that has to be cut again."""
        width = -(-(high - low) // _BUCKETS)
        bucket = ((pl.col(TIME) - low) // width).alias("bucket")
        found = self._table.collect(self._between(symbols, low, high).group_by(bucket).agg(pl.len()))
        counts: dict[int, int] = dict(found.iter_rows())
        begin, end, held = low, low, 0
        for number, border in enumerate(range(low, high, width)):
            rows = counts.get(number, 0)
            if held and held + rows > self._window_rows:
                yield begin, end
                held = 0
            if rows:
                begin, end, held = (begin if held else border), min(border + width, high), held + rows
        if held:
            yield begin, end
