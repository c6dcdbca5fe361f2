"""Sources of history that behave as a test wants: installed, for whoever has this folder on PYTHONPATH, as `test:`.

`test:<minutes>?<what>=<value>&...` gives the good bars of `tests.support.bars`, one batch of `batch` rows after the
other, oldest first:

    batch=50        rows of a batch

What `operations.testing.misbehaviour` lists goes wrong before the batch with the minute `at`, or in each shard before
its first batch, and so does this:

    at=70           minute at which it goes wrong; shards without that minute are whole
    bad=2           so many rows of the batch break the contract
    extra=1         gives rows of another symbol and of other times, too
    flood=1000      goes on for ever after its last row, with batches of so many rows: `flood_with` revisions of the
                    last bar (new), the last bar again (same) or no row at all (none)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa

from coordinator.source import SourceBatch, SourceContext
from operations.testing.misbehaviour import Misbehaviour
from tests.support.bars import MINUTE, START, good_bar

__all__ = ["open_test"]

_FIRST = START * 1_000


class Bars:
    """Good bars until something goes wrong."""

    def __init__(self, minutes: int, options: dict[str, str]) -> None:
        self._minutes, self._options = minutes, options
        self._misbehaviour, self._batch = Misbehaviour(options), int(options.get("batch", 50))

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        return len(symbols) * len(self._wanted(start, end))

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        rows = [(minute, symbol) for minute in self._wanted(start, end) for symbol in symbols]
        for at in range(int(cursor or 0), len(rows), self._batch):
            self._misbehaviour.begin_batch(at)
            some = rows[at : at + self._batch]
            bars = [good_bar(symbol, minute, price=100 + minute % 7) for minute, symbol in some]
            batch: Any = pa.RecordBatch.from_pylist(bars)
            if self._goes_wrong({minute for minute, _ in some}, first=at == 0):
                self._misbehaviour.go_wrong()
                instead = self._misbehaviour.instead()
                batch = self._spoilt(bars) if instead is None else instead
            yield SourceBatch(batch, str(at + len(some))) if isinstance(batch, pa.RecordBatch) else batch
        if "flood" in self._options and rows:
            yield from self._flood(*rows[-1], len(rows), int(cursor or 0))

    def close(self) -> None:
        self._misbehaviour.close()

    def _wanted(self, start: int, end: int) -> range:
        width = MINUTE * 1_000
        return range(max(0, (start - _FIRST) // width), min(self._minutes, (end - _FIRST) // width))

    def _goes_wrong(self, minutes: set[int], *, first: bool) -> bool:
        return int(self._options["at"]) in minutes if "at" in self._options else first

    def _spoilt(self, bars: list[dict[str, Any]]) -> Any:
        options = self._options
        for bar in bars[: int(options.get("bad", 0))]:
            bar["high"] = bar["low"] - 1
        if "extra" in options:
            first = bars[0]
            earlier, later = first["event_time"] - 5 * MINUTE, first["event_time"] + 1_000_000 * MINUTE
            bars = [{**first, "symbol": "NOBODY"}, {**first, "event_time": earlier}, *bars]
            bars.append({**first, "event_time": later})
        return pa.RecordBatch.from_pylist(bars)

    def _flood(self, minute: int, symbol: str, rows: int, done: int) -> Iterator[SourceBatch]:
        count, kind = int(self._options["flood"]), self._options.get("flood_with", "new")
        place = max(rows, done)
        last = good_bar(symbol, minute, price=100 + minute % 7)
        empty = pa.RecordBatch.from_pylist([last]).slice(1)
        while True:
            self._misbehaviour.begin_batch(place)
            bars = [last | ({"volume": float(place + n)} if kind == "new" else {}) for n in range(count)]
            place += count
            yield SourceBatch(empty if kind == "none" else pa.RecordBatch.from_pylist(bars), str(place))


def open_test(rest: str, context: SourceContext) -> Bars:
    minutes, _, options = rest.partition("?")
    return Bars(int(minutes), dict(parse_qsl(options, strict_parsing=bool(options))))
