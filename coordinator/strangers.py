"""Rows in a job's ranges that no known shard wrote: something other than a worker writes to history. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from coordinator.audit import NAMED, CheckedRows, Expected, Place, Problem

__all__ = ["Strangers"]


class Strangers:
    """Takes records without a name, or with one that nobody knows, and keeps those that stand in the shards' ranges."""

    def __init__(self, expected: Sequence[Expected]) -> None:
        self._ranges: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for shard in expected:
            for symbol in shard.symbols:
                self._ranges[symbol].append((shard.start, shard.end))
        self._count = 0
        self._named: list[Place] = []

    def take(self, rows: CheckedRows) -> None:
        """Judge decoded records; what cannot be read is in nobody's range."""
        for at, (symbol, time) in enumerate(zip(rows.symbols, rows.times.tolist(), strict=True)):
            if any(start <= time < end for start, end in self._ranges.get(symbol, ())):
                self._count += 1
                if len(self._named) < NAMED:
                    self._named.append(Place(int(rows.partitions[at]), int(rows.offsets[at]), symbol, time))

    def problems(self) -> list[Problem]:
        """Return one problem, or none."""
        if not self._count:
            return []
        text = f"rows in the job's ranges that no known shard has written: {self._count:,}"
        return [Problem("foreign", "", text, self._count, tuple(self._named))]
