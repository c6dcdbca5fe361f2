"""One series: history, then live, each row once and in order; what `Provider.stream` gives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from schemas.contract import Contract
from schemas.findings import Finding
from streams.errors import SettingsError
from streams.exact_rows import rows_of
from streams.log import get_logger
from streams.provider.sla_metrics import SLAMetrics
from streams.provider.stream_chunk import Chunk
from streams.provider.stream_core import StreamCore
from streams.provider.stream_order import nanoseconds_of
from streams.provider.stream_position import StreamPosition
from streams.provider.switch import Switch

__all__ = ["Lag", "Stream"]

_BEHIND, _CAUGHT_UP = 50_000, 5_000

log = get_logger("provider")


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a stream is behind what is committed.

    Attributes:
        records: how many are committed and were not given, at most; those of other symbols in the same partitions
            count too.
        history_at: event time that the reading of history has got to, nanoseconds since the epoch; None once live.
    """

    records: int
    history_at: int | None


class Stream:
    """An iterator of polars frames, and an asynchronous one; a context manager of both kinds. For one reader.

    Frames have the contract's columns, `flags` included, event times as UTC datetimes of the contract's resolution. No
    row comes twice, and those of one symbol come in the order of event time. A row that lands after the stream was
    beyond its time, such as a correction, is not among them: it is counted in `late_rows`, and given to `on_late`.

    It opens at the first step. An error leaves the position where it was: a further step goes on.

    Args:
        core: what reads.
        switch: ends its waiting.
        timeout: seconds without a row after which the iteration ends; None waits for ever.
        until_end: end behind the rows that are committed when history has been given.
        on_late: is called with late rows, on the reader's thread, before the next frame is given.
        close: is called once, when the stream is closed.
    """

    def __init__(
        self,
        core: StreamCore,
        switch: Switch,
        *,
        timeout: float | None = None,
        until_end: bool = False,
        on_late: Callable[[pl.DataFrame], None] | None = None,
        metrics: SLAMetrics | None = None,
        consumer: str = "",
        close: Callable[[], None] = lambda: None,
    ) -> None:
        if timeout is not None and timeout < 0:
            raise SettingsError(f"timeout is {timeout}: give seconds to wait for rows, or None to wait for ever")
        self._core, self._switch = core, switch
        self._timeout, self.until_end, self._on_late = timeout, until_end, on_late
        self._metrics, self._consumer, self._also_close = metrics, consumer, close
        self.dataset = core.position.dataset
        self.late_rows = self.given_rows = 0
        self._chunk: Chunk | None = None
        self._given = 0
        self._told_behind = self._closed = False
        self._reading = threading.Lock()
        self._reader: ThreadPoolExecutor | None = None
        self._next: Future[pl.DataFrame | None] | None = None

    # Reading

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self

    def __next__(self) -> pl.DataFrame:
        frame = self.poll(self._timeout)
        if frame is None:
            raise StopIteration
        return frame

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield single rows as dictionaries; `position` moves row by row.

        Times are aware datetimes; of contracts in nanoseconds, pandas Timestamps, which are datetimes that hold them.
        """
        while (frame := self.take(self._timeout)) is not None:
            for row in rows_of(self.contract)(frame):
                self.gave(1)
                yield row

    def poll(self, seconds: float | None) -> pl.DataFrame | None:
        """Return the next rows; None if none came in time, or if all was given and the stream is to end there.

        Args:
            seconds: how long to wait for rows, once history is given; None for as long as it takes.

        Raises:
            SeamlessSLAExceeded: if a promise is not kept, and the policy says to fail then.
            Stopped: if the stream was closed while this waited.
            ArchiveUnavailable, BrokerError, RegistryError: as the policy says, if something cannot be opened.
            UnreadableRow: if a record of the topics is no row of the dataset.
        """
        frame = self.take(seconds)
        if frame is not None:
            self.gave(frame.height)
        return frame

    def take(self, seconds: float | None) -> pl.DataFrame | None:
        """Return as `poll` does the rows from the position on, which moves only when `gave` says how many were used."""
        with self._reading:
            if self._closed:
                return None
            if self._chunk is None:
                chunk = self._core.step(seconds, until_end=self.until_end)
                self._tell_late()
                if chunk is None:
                    return None
                self._chunk, self._given = chunk, 0
                self._look_how_far()
            return self._chunk.rows.slice(self._given)

    def gave(self, rows: int) -> None:
        """Say that the reader has so many further rows of what `take` returned."""
        chunk = self._chunk
        if chunk is None:
            return
        self._given += rows
        self.given_rows += rows
        if self._metrics is not None:
            self._metrics.streamed(self._consumer, self.dataset, rows)
        if self._given >= chunk.rows.height:
            self._core.position, self._chunk = chunk.after, None

    # Asynchronous reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pl.DataFrame:
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="seamless-stream")
        # A task that is cancelled loses no rows: the reading goes on, and the next step waits for the same.
        if self._next is None:
            self._next = self._reader.submit(self.take, self._timeout)
        frame = await asyncio.shield(asyncio.wrap_future(self._next))
        self._next = None
        if frame is None:
            raise StopAsyncIteration
        self.gave(frame.height)
        return frame

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    # Where it stands

    @property
    def position(self) -> StreamPosition:
        """The place behind everything that was given: `str(position)` is text to keep, for `Provider.stream`."""
        chunk = self._chunk
        return self._core.position if chunk is None else chunk.position(self._core.contract, self._given)

    @property
    def contract(self) -> Contract:
        """The version of the contract whose columns the rows have; opens the stream."""
        self._core.open()
        return self._core.contract

    @property
    def lag(self) -> Lag:
        """How far it is behind, as far as it knows without asking."""
        waiting = 0 if self._chunk is None else self._chunk.rows.height - self._given
        return Lag(self._core.behind() + waiting, self._core.reads_history_at)

    @property
    def lacks(self) -> dict[str, str]:
        """What it goes on without, by phase, and why; empty if all is well."""
        return dict(self._core.lacks.reasons)

    def explain(self, flags: int) -> list[Finding]:
        """Return what a row's `flags` say, in the order of their bits."""
        return self.contract.explain(flags)

    def close(self) -> None:
        """End the stream, from any thread: whoever waits for rows gets none; a second call does nothing."""
        self._switch.stop()
        with self._reading:
            if self._closed:
                return
            self._closed = True
            self._core.close()
        if self._reader is not None:
            self._reader.shutdown(wait=False)
        self._also_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How

    def _tell_late(self) -> None:
        while self._core.late:
            rows = self._core.late[0]
            if self._on_late is not None:
                self._on_late(rows)
            self._core.late.pop(0)
            self.late_rows += rows.height
            first = rows.select(nanoseconds_of(self._core.contract).min()).item()
            log.info("rows_came_late", dataset=self.dataset, rows=rows.height, earliest_ns=first)
            if self._metrics is not None:
                self._metrics.came_late(self._consumer, self.dataset, rows.height)

    def _look_how_far(self) -> None:
        """Say when the stream falls behind, and when it has caught up."""
        lag = self.lag
        if self._metrics is not None:
            self._metrics.lags(self._consumer, self.dataset, lag.records)
        if lag.history_at is not None:
            return
        if lag.records > _BEHIND and not self._told_behind:
            self._told_behind = True
            log.warning("stream_behind", dataset=self.dataset, records=lag.records)
        elif lag.records < _CAUGHT_UP and self._told_behind:
            self._told_behind = False
            log.info("stream_caught_up", dataset=self.dataset, records=lag.records)
