"""Several streams as one, in the order of event time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import polars as pl

from streams.clock import Deadline
from streams.provider.stream import Stream
from streams.provider.stream_order import nanoseconds_of
from streams.provider.stream_position import StreamPosition

__all__ = ["MergedStream"]

_TURN_S = 0.02


class MergedStream:
    """Yields (name, frame), so that event times never go back while history is given.

    Once the streams are live, a row is held back until each of the others has a later one, or was silent for
    `patience` seconds: nobody can know how late a row may be. Streams that are to end, end; then so does this.

    Args:
        streams: by any name; of equal times the first one's rows come first.
        patience: seconds.
        timeout: seconds without a row after which the iteration ends; None waits for ever.
    """

    def __init__(self, streams: Mapping[str, Stream], *, patience: float = 1.0, timeout: float | None = None) -> None:
        self.streams = dict(streams)
        self._patience, self._timeout = patience, timeout
        self._until_end = all(stream.until_end for stream in streams.values())
        self._heads: dict[str, pl.DataFrame] = {}
        self._silent: dict[str, Deadline] = {}
        self._closed = False

    def __iter__(self) -> Iterator[tuple[str, pl.DataFrame]]:
        return self

    def __next__(self) -> tuple[str, pl.DataFrame]:
        deadline = None if self._timeout is None else Deadline(self._timeout)
        while not self._closed:
            self._fill_heads()
            if self._heads and (self._until_end or all(silent.passed() for silent in self._silent.values())):
                return self._least()
            if not self._heads and self._until_end:
                break
            if not self._heads and deadline is not None and deadline.passed():
                break
        raise StopIteration

    @property
    def position(self) -> dict[str, StreamPosition]:
        """The place behind everything that was given, by name."""
        return {name: stream.position for name, stream in self.streams.items()}

    def close(self) -> None:
        """End all streams; from any thread."""
        self._closed = True
        for stream in self.streams.values():
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill_heads(self) -> None:
        """Look for rows of the streams of which none are at hand."""
        for name, stream in self.streams.items():
            if name in self._heads:
                continue
            frame = stream.take(None if self._until_end else _TURN_S)
            if frame is None:
                self._silent.setdefault(name, Deadline(self._patience))
            else:
                self._heads[name] = frame
                self._silent.pop(name, None)

    def _least(self) -> tuple[str, pl.DataFrame]:
        """Take the earliest rows: those of one stream that are before all rows of the others."""
        times = {d: self._times(d, head) for d, head in self._heads.items()}
        order = list(self.streams)
        first = min(times, key=lambda d: (times[d][0], order.index(d)))
        others = [(int(times[d][0]), order.index(d)) for d in times if d != first]
        count = len(times[first])
        if others:
            bound, rank = min(others)
            after_equals = order.index(first) < rank
            count = int(times[first].search_sorted(bound, side="right" if after_equals else "left"))
        head = self._heads[first]
        if count >= head.height:
            del self._heads[first]
        else:
            self._heads[first] = head.slice(count)
        self.streams[first].gave(count)
        return first, head.head(count)

    def _times(self, name: str, frame: pl.DataFrame) -> pl.Series:
        return frame.select(nanoseconds_of(self.streams[name].contract)).to_series()
