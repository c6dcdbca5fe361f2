"""Finds rows that were written twice, whatever their number, in bounded memory.

Rows are gathered up to a limit and then spilled to temporary files by their hash, so that equal rows meet in one file;
each file is sorted by itself. A row is known by the hash of its identity together with its event time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import numpy as np
import numpy.typing as npt

__all__ = ["ROW", "Doubles"]

ROW = np.dtype(
    [("hash", "<u8"), ("time", "<i8"), ("shard", "<u4"), ("symbol", "<u4"), ("partition", "<i4"), ("offset", "<i8")]
)
"""A row: hash of its identity, event time in nanoseconds, numbers that stand for shard and symbol, and its place."""

Rows = npt.NDArray[np.void]

_BUCKET_BITS = 6


class Doubles:
    """Gathers rows and then tells which are there more than once; a context manager.

    Args:
        memory_rows: most rows held in memory while gathering; 36 bytes each.
    """

    def __init__(self, memory_rows: int = 1_000_000) -> None:
        self._limit, self._held = memory_rows, 0
        self._rows: list[Rows] = []
        self._files: list[IO[bytes]] = []
        self._stack = ExitStack()

    def add(self, rows: Rows) -> None:
        """Take rows of dtype `ROW`."""
        self._rows.append(rows)
        self._held += len(rows)
        if self._held > self._limit:
            self._spill()

    def found(self) -> Iterator[Rows]:
        """Yield each row that is there more than once with its repetitions, in the order of partition and offset."""
        if not self._files:
            yield from _repeated(self._taken())
            return
        self._spill()
        for file in self._files:
            file.seek(0)
            yield from _repeated(np.frombuffer(file.read(), ROW))

    def close(self) -> None:
        """Remove the temporary files."""
        self._stack.close()

    def __enter__(self) -> Doubles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _taken(self) -> Rows:
        rows = np.concatenate(self._rows) if self._rows else np.empty(0, ROW)
        self._rows, self._held = [], 0
        return rows

    def _spill(self) -> None:
        if not self._files:
            for _ in range(1 << _BUCKET_BITS):
                file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the stack
                self._files.append(self._stack.enter_context(file))
        rows = self._taken()
        buckets = (rows["hash"] >> np.uint64(64 - _BUCKET_BITS)).astype(np.intp)
        order = np.argsort(buckets, kind="stable")
        borders = np.searchsorted(buckets[order], np.arange(len(self._files) + 1))
        rows = rows[order]
        for file, start, end in zip(self._files, borders[:-1], borders[1:], strict=True):
            if end > start:
                file.write(rows[start:end].tobytes())


def _repeated(rows: Rows) -> Iterator[Rows]:
    if len(rows) < 2:
        return
    rows = rows[np.lexsort((rows["offset"], rows["partition"], rows["time"], rows["hash"]))]
    same = (rows["hash"][1:] == rows["hash"][:-1]) & (rows["time"][1:] == rows["time"][:-1])
    if not same.any():
        return
    borders = np.concatenate(([0], np.flatnonzero(~same) + 1, [len(rows)]))
    for at in np.flatnonzero(np.diff(borders) > 1):
        yield rows[borders[at] : borders[at + 1]]
