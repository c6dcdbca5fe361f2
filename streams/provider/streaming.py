"""Streams made of a provider's parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import polars as pl

from coordinator.ranges import Range
from streams.errors import SettingsError
from streams.provider.backfilling import Backfilling
from streams.provider.kit import Kit
from streams.provider.moments import Moment, moment_ns
from streams.provider.phases import Phases
from streams.provider.sla_metrics import SLAMetrics
from streams.provider.stream import Stream
from streams.provider.stream_core import StreamCore
from streams.provider.stream_fill import HistoryFill
from streams.provider.stream_position import StreamPosition
from streams.provider.switch import Switch
from streams.sla_resolve import ResolvedPolicy

__all__ = ["make_stream"]


def make_stream(
    kit: Kit,
    resolved: ResolvedPolicy,
    symbols: Collection[str] | str | None,
    start: Moment | None,
    *,
    position: StreamPosition | str | None,
    fill: bool,
    timeout: float | None,
    until_end: bool,
    on_late: Callable[[pl.DataFrame], None] | None,
    batch_rows: int,
    metrics: SLAMetrics,
    close: Callable[[Stream], None],
) -> Stream:
    """Return a stream that opens at its first step; see `Provider.stream`.

    Raises:
        SettingsError: if an argument makes no sense.
    """
    if batch_rows < 1:
        raise SettingsError(f"batch_rows is {batch_rows}: ask for at least one row at a time")
    settings, dataset = kit.settings, kit.settings.dataset(resolved.dataset)
    names = (symbols,) if isinstance(symbols, str) else dataset.symbols if symbols is None else symbols
    if names is not None:
        names = tuple(sorted(set(names)))
        if not names or not all(name.strip() for name in names):
            raise SettingsError("symbols is empty or has a blank one: name at least one, or None for all")
    first = None if start is None else moment_ns("start", start, dataset.timezone)
    began = StreamPosition(dataset=resolved.dataset, world=settings.world, symbols=names, start=first)
    if position is not None:
        began = StreamPosition.parse(position)
        began.check(settings.world, resolved.dataset, names)
    switch = Switch()
    asking = Backfilling(kit.filling, resolved.dataset, switch, resolved.consumer)
    ask = partial(_asked, kit, resolved.dataset, asking) if fill and dataset.source else None
    filler = HistoryFill(dataset, names, first, kit.around, ask)
    core = StreamCore(
        settings,
        resolved,
        kit.around,
        kit.archive,
        began,
        switch,
        degraded=kit.degraded,
        fill=filler if fill or resolved.policy.min_coverage > 0 else None,
        batch_rows=batch_rows,
    )
    stream = Stream(
        core,
        switch,
        timeout=timeout,
        until_end=until_end,
        on_late=on_late,
        metrics=metrics,
        consumer=resolved.consumer,
        close=lambda: close(stream),
    )
    return stream


def _asked(kit: Kit, dataset: str, asking: Backfilling, phases: Phases, missing: Mapping[str, Sequence[Range]]) -> bool:
    if (first := kit.storage_first(dataset)) is not None:
        with phases.phase("backfill_wait") as phase:
            phase.leave_out(first)
        kit.degraded.without(dataset, "coordinator", first)
        return False
    found = asking.run(phases, missing)
    if found.outcome == "unavailable":
        kit.degraded.without(dataset, "coordinator", found.reason)
    return found.may_have_come
