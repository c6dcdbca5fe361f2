"""What tests of streams need: a stream over a world without a provider around it, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from streams.archive.reader import ArchiveReader
from streams.metrics import Metrics
from streams.provider.account import Surroundings
from streams.provider.kit import Degraded
from streams.provider.stream import Stream
from streams.provider.stream_core import StreamCore
from streams.provider.stream_position import StreamPosition
from streams.provider.switch import Switch
from streams.sla_policy import SLAPolicy
from streams.sla_resolve import resolve
from tests.support.worlds import DATASET, World

__all__ = ["Kept", "identities", "open_stream"]

Identity = tuple[str, int]


def open_stream(
    world: World,
    position: StreamPosition | str | None = None,
    *,
    symbols: Iterable[str] | None = None,
    start: int | None = None,
    policy: SLAPolicy | None = None,
    batch_rows: int = 1_000,
    around: Surroundings | None = None,
    metrics: Metrics | None = None,
    **arguments: Any,
) -> Stream:
    """Return a stream of the world's dataset."""
    settings = world.settings
    names = None if symbols is None else tuple(sorted(symbols))
    began = StreamPosition(dataset=DATASET, world=settings.world, symbols=names, start=start)
    if position is not None:
        began = StreamPosition.parse(str(position))
    switch = Switch()
    core = StreamCore(
        settings,
        resolve(settings, DATASET, None, policy or SLAPolicy(max_wait_live=60)),
        around or Surroundings(),
        ArchiveReader(settings),
        began,
        switch,
        degraded=Degraded(metrics or Metrics(settings.world)),
        fill=None,
        batch_rows=batch_rows,
    )
    return Stream(core, switch, **arguments)


def identities(rows: pl.DataFrame | Iterable[Mapping[str, Any]]) -> list[Identity]:
    """Return symbol and event time (microseconds since the epoch) of bars, in their order."""
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows))
    if not frame.height:
        return []
    times = pl.col("event_time")
    if frame.schema["event_time"] != pl.Int64:
        times = times.dt.epoch("us")
    return list(frame.select("symbol", times).iter_rows())


class Kept:
    """What one reader has, over all its streams; refuses rows that come twice or out of order."""

    def __init__(self) -> None:
        self.rows: dict[Identity, float] = {}
        self.late: Counter[Identity] = Counter()
        self._last: dict[str, int] = {}

    def take(self, frame: pl.DataFrame) -> None:
        """Take rows that a stream gave."""
        for (symbol, time), close in zip(identities(frame), frame["close"].to_list(), strict=True):
            assert time > self._last.get(symbol, -1), f"{symbol} {time} comes after {self._last[symbol]}"
            self._last[symbol] = time
            self.rows[symbol, time] = close

    def take_late(self, frame: pl.DataFrame) -> None:
        """Take rows that a stream told of as late."""
        self.late.update(identities(frame))
