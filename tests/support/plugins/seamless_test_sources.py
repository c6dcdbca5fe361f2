"""Sources of history that behave as a test wants: installed, for whoever has this folder on PYTHONPATH, as `test:`.

`test:<minutes>?<what>=<value>&...` gives the good bars of `tests.support.bars`, one batch of `batch` rows after the
other, oldest first:

    pace=0.2        seconds before each batch
    hurry=FILE      no longer, once there is that file
    batch=50        rows of a batch
    marks=FILE      a line for each batch that is asked for: when (seconds of the machine's monotonic clock), and place

What goes wrong does so before the batch with the minute `at`, or in each shard before its first batch:

    at=70           minute at which it goes wrong; shards without that minute are whole
    fail=3          raises what may be tried again, so many times in all; counted in the file `state`
    after=0.5       what is raised then asks for so many seconds of quiet
    broken=why      raises what need not be tried again
    panic=1         raises what is no Exception, as native libraries do
    exit=3          tries to end the process
    hang=FILE       does not come back before there is that file
    wrong=batch     gives something that is no batch; wrong=columns: a batch of something else
    bad=2           so many rows of the batch break the contract
    extra=1         gives rows of another symbol and of other times, too
    flood=1000      goes on for ever after its last row, with batches of so many rows: `flood_with` revisions of the
                    last bar (new), the last bar again (same) or no row at all (none)
    close=panic     fails when it is closed; close=hang: does not come back from that
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa

from coordinator.source import SourceBatch, SourceContext, SourceError
from tests.support.bars import MINUTE, START, good_bar

__all__ = ["open_test"]

_FIRST = START * 1_000
_LOOK_AGAIN = 0.02


class Panic(BaseException):
    """As pyo3 raises when Rust panics."""


class Bars:
    """Good bars until something goes wrong."""

    def __init__(self, minutes: int, options: dict[str, str]) -> None:
        self._minutes, self._options = minutes, options
        self._pace, self._batch = float(options.get("pace", 0)), int(options.get("batch", 50))

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        return len(symbols) * len(self._wanted(start, end))

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        rows = [(minute, symbol) for minute in self._wanted(start, end) for symbol in symbols]
        for at in range(int(cursor or 0), len(rows), self._batch):
            self._wait()
            self._mark(at)
            some = rows[at : at + self._batch]
            bars = [good_bar(symbol, minute, price=100 + minute % 7) for minute, symbol in some]
            batch: Any = pa.RecordBatch.from_pylist(bars)
            if self._goes_wrong({minute for minute, _ in some}, first=at == 0):
                self._raise()
                batch = self._spoilt(bars)
            yield SourceBatch(batch, str(at + len(some))) if isinstance(batch, pa.RecordBatch) else batch
        if "flood" in self._options and rows:
            yield from self._flood(*rows[-1], len(rows), int(cursor or 0))

    def close(self) -> None:
        match self._options.get("close"):
            case "panic":
                raise Panic("this source does not like to be closed")
            case "hang":
                self._hang("")

    def _wanted(self, start: int, end: int) -> range:
        width = MINUTE * 1_000
        return range(max(0, (start - _FIRST) // width), min(self._minutes, (end - _FIRST) // width))

    def _wait(self) -> None:
        if self._pace and not Path(self._options.get("hurry", "/nowhere")).exists():
            time.sleep(self._pace)

    def _mark(self, at: int) -> None:
        if "marks" in self._options:
            with Path(self._options["marks"]).open("a") as marks:
                marks.write(f"{time.monotonic()} {at}\n")

    def _goes_wrong(self, minutes: set[int], *, first: bool) -> bool:
        return int(self._options["at"]) in minutes if "at" in self._options else first

    def _raise(self) -> None:
        options = self._options
        if "fail" in options and _counted(Path(options["state"]), int(options["fail"])):
            after = options.get("after")
            raise SourceError("the vendor is tired", retry_after_s=None if after is None else float(after))
        if "broken" in options:
            raise SourceError(f"the vendor says: {options['broken']}", retryable=False)
        if "panic" in options:
            raise Panic("called `Option::unwrap()` on a `None` value")
        if "exit" in options:
            sys.exit(int(options["exit"]))
        if "hang" in options:
            self._hang(options["hang"])

    def _spoilt(self, bars: list[dict[str, Any]]) -> Any:
        options = self._options
        match options.get("wrong"):
            case "batch":
                return "these are the bars"
            case "columns":
                return pa.RecordBatch.from_pylist([{"colour": "blue", "taste": 3}])
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
            self._mark(place)
            bars = [last | ({"volume": float(place + n)} if kind == "new" else {}) for n in range(count)]
            place += count
            yield SourceBatch(empty if kind == "none" else pa.RecordBatch.from_pylist(bars), str(place))

    def _hang(self, file: str) -> None:
        while not (file and Path(file).exists()):
            time.sleep(_LOOK_AGAIN)


def _counted(state: Path, most: int) -> bool:
    """Count one more, over all processes; return whether it was one of the first `most`."""
    with state.open("ab") as counter:
        counter.write(b"x")
        return counter.tell() <= most


def open_test(rest: str, context: SourceContext) -> Bars:
    minutes, _, options = rest.partition("?")
    return Bars(int(minutes), dict(parse_qsl(options, strict_parsing=bool(options))))
