"""What of a dataset the archive has: the snapshot's rows held against the dataset's interval and calendar."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from schemas.grid import DAY, make_grid
from streams.archive.coverage import SymbolCoverage, cover_each
from streams.archive.reader import ArchiveSnapshot, Moment, nanoseconds
from streams.clock import Deadline
from streams.settings import Settings

__all__ = ["coverage_of"]

_SYMBOLS_AT_ONCE = 50


def coverage_of(
    settings: Settings,
    snapshot: ArchiveSnapshot,
    symbols: Collection[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    deadline: Deadline | None = None,
) -> Iterator[SymbolCoverage]:
    """Yield what there is of each symbol, in their order, holding the times of few symbols at once.

    Args:
        symbols: None for all that have rows in the archive.
        start, end: None for where the archive's first and last rows of any symbol are.

    Raises:
        ArchiveUnavailable: if the storage does not answer, or not in time.
    """
    dataset = settings.dataset(snapshot.dataset)
    grid = make_grid(dataset.interval_ns() or DAY, dataset.calendar)
    names = sorted(set(symbols)) if symbols is not None else snapshot.symbols(deadline)
    span = snapshot.span() or (0, -grid.interval_ns)
    begin = nanoseconds(start) if start is not None else span[0]
    stop = nanoseconds(end) if end is not None else span[1] + 1
    for at in range(0, len(names), _SYMBOLS_AT_ONCE):
        few = names[at : at + _SYMBOLS_AT_ONCE]
        # A bar may be stamped a little before or after the range that it lies in.
        rows = snapshot.times(few, begin - grid.interval_ns, stop + grid.interval_ns, deadline)
        by_symbol = {str(name): part["time"].to_numpy() for (name,), part in rows.group_by("symbol")}
        times = {name: by_symbol.get(name, np.zeros(0, np.int64)).astype(np.int64) for name in few}
        yield from cover_each(grid, times, begin, stop).values()
