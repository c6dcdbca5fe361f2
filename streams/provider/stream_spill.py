"""Rows that came before their turn, kept until the reading of history has got to their time: few in memory, the rest
in files of a temporary folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

__all__ = ["Spill"]

_IN_MEMORY = 200_000
_AT = "__at"


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows with event times from `first` to `last`, nanoseconds since the epoch; in a file, or in memory."""

    rows: pl.DataFrame | Path
    height: int
    first: int
    last: int

    def between(self, start: int, end: int) -> pl.DataFrame:
        return self._scan().filter(_inside(start, end)).drop(_AT).collect()

    def count(self, start: int, end: int) -> int:
        return int(self._scan().select(_inside(start, end).sum()).collect().item())

    def _scan(self) -> pl.LazyFrame:
        return self.rows.lazy() if isinstance(self.rows, pl.DataFrame) else pl.scan_ipc(self.rows)


def _inside(start: int, end: int) -> pl.Expr:
    return (pl.col(_AT) >= start) & (pl.col(_AT) < end)


class Spill:
    """Keeps frames of one set of columns by event time.

    Args:
        in_memory: rows that are held; more are written to files.
    """

    def __init__(self, *, in_memory: int = _IN_MEMORY) -> None:
        self._most = in_memory
        self._parts: list[_Part] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._written = 0

    @property
    def rows(self) -> int:
        """How many rows are kept, those of parts included that were dealt with in part."""
        return sum(part.height for part in self._parts)

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last event time, nanoseconds since the epoch; None if there is no row."""
        if not self._parts:
            return None
        return min(part.first for part in self._parts), max(part.last for part in self._parts)

    def add(self, frame: pl.DataFrame, at: pl.Series) -> None:
        """Keep rows; `at` are their event times, nanoseconds since the epoch."""
        if not frame.height:
            return
        first, last = int(at.min()), int(at.max())  # type: ignore[arg-type]  # there are rows, and they are numbers
        self._parts.append(_Part(frame.with_columns(at.alias(_AT)), frame.height, first, last))
        held = [part for part in self._parts if isinstance(part.rows, pl.DataFrame)]
        if sum(part.height for part in held) > self._most:
            self._write(held)

    def between(self, start: int, end: int) -> pl.DataFrame | None:
        """Return the rows from `start` up to and without `end`; None if there are none."""
        found = [part.between(start, end) for part in self._parts if part.first < end and part.last >= start]
        found = [frame for frame in found if frame.height]
        return pl.concat(found) if found else None

    def count(self, start: int, end: int) -> int:
        """Return how many rows there are in a range."""
        return sum(part.count(start, end) for part in self._parts if part.first < end and part.last >= start)

    def forget_before(self, moment: int) -> None:
        """Drop what has only rows before a moment."""
        for part in self._parts:
            if part.last < moment and isinstance(part.rows, Path):
                part.rows.unlink(missing_ok=True)
        self._parts = [part for part in self._parts if part.last >= moment]

    def close(self) -> None:
        """Drop everything."""
        self._parts = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _write(self, held: list[_Part]) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="seamless-stream-")
        # By time, so that a window looks into few files.
        frame = pl.concat([part.rows for part in held if isinstance(part.rows, pl.DataFrame)]).sort(_AT)
        path = Path(self._folder.name) / f"{self._written}.arrow"
        self._written += 1
        frame.write_ipc(path)
        first, last = min(part.first for part in held), max(part.last for part in held)
        self._parts = [part for part in self._parts if isinstance(part.rows, Path)]
        self._parts.append(_Part(path, frame.height, first, last))
