"""Which files of a table are worth merging. Pure.

Files are merged within one period, and only with files of like size: each is then rewritten a few times until it has
grown to the target, however often rows are appended, and what has grown is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import polars as pl

__all__ = ["File", "Merge", "choose_merges", "files_of"]

_STEP = 8
_SMALLEST = 64 * 1024
# More would not fit into the memory that a process is expected to take.
_MOST_ROWS = 2_000_000
_MOST_FILES = 500


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A file of a table; `period` is the first day of what its rows are from."""

    period: date
    size: int
    path: str
    rows: int

    @property
    def tier(self) -> int:
        """How often its size was multiplied."""
        tier, size = 0, self.size
        while size >= _SMALLEST * _STEP:
            tier, size = tier + 1, size // _STEP
        return tier


@dataclass(frozen=True, slots=True)
class Merge:
    """Files to be replaced by one."""

    period: date
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


def files_of(frame: pl.DataFrame, period: str) -> list[File]:
    """Return the files that `Snapshot.files` tells of."""
    columns = [f"partition.{period}", "size_bytes", "path", "num_records"]
    return [File(day, size, path, rows or 0) for day, size, path, rows in frame.select(columns).iter_rows()]


def choose_merges(files: list[File], target: int, fewest: int, *, thorough: bool = False) -> list[Merge]:
    """Return what to merge now, small things first.

    Args:
        target: bytes that a file should have; what has three quarters of it is never touched.
        fewest: how many files of like size there must be.
        thorough: merge any two files of a period that together are not larger than the target.
    """
    merges = []
    for period, of_period in groupby(sorted(files), key=lambda f: f.period):
        small = [f for f in of_period if f.size < target * 3 // 4 and f.rows < _MOST_ROWS * 3 // 4]
        if thorough:
            merges += [Merge(period, group) for group in _groups(small, target) if len(group) > 1]
            continue
        for _, of_tier in groupby(small, key=lambda f: f.tier):
            merges += [Merge(period, group) for group in _groups(list(of_tier), target) if len(group) >= fewest]
    return sorted(merges, key=lambda m: (m.size, m.period))


def _groups(files: list[File], target: int) -> Iterator[tuple[File, ...]]:
    """Yield the files, which rise in size, in groups that are not too much for one file."""
    group: list[File] = []
    size = rows = 0
    for file in files:
        if group and (size + file.size > target or rows + file.rows > _MOST_ROWS or len(group) == _MOST_FILES):
            yield tuple(group)
            group, size, rows = [], 0, 0
        group.append(file)
        size, rows = size + file.size, rows + file.rows
    if group:
        yield tuple(group)
