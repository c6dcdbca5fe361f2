"""Sources of history that behave as a test wants: installed, for whoever has this folder on PYTHONPATH, as `test:`.

`test:<minutes>?<what>=<value>&...` gives the good bars of `tests.support.bars`, one batch of `batch` rows after the
other, oldest first. What goes wrong is in the rest:

    pace=0.2        seconds before each batch
    batch=50        rows of a batch
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl

import pyarrow as pa

from coordinator.source import SourceBatch, SourceContext
from tests.support.bars import MINUTE, START, good_bar

__all__ = ["open_test"]

_FIRST = START * 1_000


class PacedBars:
    """Good bars, as slowly as wanted."""

    def __init__(self, minutes: int, options: dict[str, str]) -> None:
        self._minutes = minutes
        self._pace, self._batch = float(options.get("pace", 0)), int(options.get("batch", 50))

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        return len(symbols) * len(self._wanted(start, end))

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        rows = [(minute, symbol) for minute in self._wanted(start, end) for symbol in symbols]
        for at in range(int(cursor or 0), len(rows), self._batch):
            time.sleep(self._pace)
            some = rows[at : at + self._batch]
            bars = [good_bar(symbol, minute, price=100 + minute % 7) for minute, symbol in some]
            yield SourceBatch(pa.RecordBatch.from_pylist(bars), str(at + len(some)))

    def close(self) -> None:
        pass

    def _wanted(self, start: int, end: int) -> range:
        width = MINUTE * 1_000
        return range(max(0, (start - _FIRST) // width), min(self._minutes, (end - _FIRST) // width))


def open_test(rest: str, context: SourceContext) -> PacedBars:
    minutes, _, options = rest.partition("?")
    return PacedBars(int(minutes), dict(parse_qsl(options, strict_parsing=bool(options))))
