"""Before a stream gives history: how complete it is, and backfill of what is missing.

Times are looked at slice by slice, so that a history of any length takes little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from coordinator.ranges import Range, normalised
from schemas.contract import Contract
from schemas.grid import DAY, make_grid
from streams.archive.coverage import cover_each
from streams.archive.reader import ArchiveSnapshot
from streams.errors import ArchiveUnavailable
from streams.provider.account import Surroundings
from streams.provider.calls import Timeout
from streams.provider.edge import counted_until, edge_since, split_at_edge
from streams.provider.phase_run import Failed
from streams.provider.phases import Phases
from streams.provider.stream_order import nanoseconds_of
from streams.provider.stream_spill import Spill
from streams.settings import DatasetSettings
from streams.sla_exceeded import MissingRange

__all__ = ["HistoryFill", "Holes"]

Ints = npt.NDArray[np.int64]
_BARS_AT_ONCE = 1_000_000
_NONE: Ints = np.zeros(0, np.int64)


class Holes:
    """How many bars are expected and there, and where some are missing, by symbol."""

    def __init__(self) -> None:
        self.expected = self.present = 0
        self.missing: dict[str, list[Range]] = {}

    @property
    def ratio(self) -> float:
        """Share of the expected bars that is there; 1 where none is expected."""
        return self.present / self.expected if self.expected else 1.0

    def ranges(self) -> list[MissingRange]:
        """Return what is missing, by symbol and time."""
        return [MissingRange(s, r.start, r.end) for s, several in sorted(self.missing.items()) for r in several]


class HistoryFill:
    """Looks at history from a stream's start up to now, and has fetched what is missing of it.

    Args:
        symbols: those to look at; None for all that have rows.
        start: nanoseconds since the epoch; None for the first row there is.
        ask: has ranges fetched by the coordinator and waits for them under the policy; returns whether anything may
            have come. None where there is no source.
    """

    def __init__(
        self,
        dataset: DatasetSettings,
        symbols: Collection[str] | None,
        start: int | None,
        around: Surroundings,
        ask: Callable[[Phases, Mapping[str, Sequence[Range]]], bool] | None,
    ) -> None:
        self._interval_ns = dataset.interval_ns()
        self._grid = make_grid(self._interval_ns or DAY, dataset.calendar)
        self._symbols, self._start, self._around, self._ask = symbols, start, around, ask

    def fill(self, phases: Phases, snapshot: ArchiveSnapshot | None, spill: Spill, contract: Contract) -> bool:
        """Have fetched what is missing; return whether anything may have come.

        Raises:
            SeamlessSLAExceeded, ArchiveUnavailable, CoordinatorUnavailable: as the policy says.
        """
        holes = self._look(phases, snapshot, spill, contract)
        if holes is None or not holes.missing:
            return False
        phases.lacks(holes.ranges())
        since = edge_since(self._interval_ns or DAY, self._now())
        past = {s: split_at_edge(self._grid, ranges, since)[0] for s, ranges in holes.missing.items()}
        past = {symbol: ranges for symbol, ranges in past.items() if ranges}
        return bool(past) and self._ask is not None and self._ask(phases, past)

    def check(self, phases: Phases, snapshot: ArchiveSnapshot | None, spill: Spill, contract: Contract) -> None:
        """Judge how complete history is; SeamlessSLAExceeded as the policy says."""
        holes = self._look(phases, snapshot, spill, contract)
        if holes is not None:
            phases.check_coverage(holes.ratio, holes.ranges())

    def _look(self, phases: Phases, snapshot: ArchiveSnapshot | None, spill: Spill, contract: Contract) -> Holes | None:
        with phases.phase("storage_wait") as phase:
            found = phase.retry(lambda: self._held(snapshot, spill, contract), ArchiveUnavailable)
        return None if isinstance(found, Timeout | Failed) else found

    def _held(self, snapshot: ArchiveSnapshot | None, spill: Spill, contract: Contract) -> Holes:
        """Hold what there is against interval and calendar."""
        holes = Holes()
        archived = None if snapshot is None else snapshot.span()
        spans = [span for span in (archived, spill.span) if span is not None]
        if not spans and (self._start is None or self._symbols is None):
            return holes
        start = min(first for first, _ in spans) if self._start is None else self._start
        end = counted_until(self._grid, start, max(start, self._now()), self._now())
        symbols = sorted(set(self._known(snapshot, spill, contract) if self._symbols is None else self._symbols))
        for first, behind in self._slices(start, end, len(symbols)):
            times = self._times(snapshot, spill, contract, symbols, first, behind)
            own = {symbol: times.get(symbol, _NONE) for symbol in symbols}
            for symbol, covered in cover_each(self._grid, own, first, behind).items():
                holes.expected += covered.expected
                holes.present += covered.present
                if covered.missing:
                    holes.missing.setdefault(symbol, []).extend(covered.missing)
        holes.missing = {symbol: list(normalised(ranges)) for symbol, ranges in holes.missing.items()}
        return holes

    def _slices(self, start: int, end: int, symbols: int) -> Iterator[tuple[int, int]]:
        """Yield the range in pieces of so many bars, none cut within a bar."""
        expected = self._grid.expected(start, end)
        first, behind = (int(n) for n in expected.before(np.array([start, end], np.int64)))
        step = max(1, _BARS_AT_ONCE // max(1, symbols))
        borders = [int(s) for s in expected.starts(np.arange(first + step, behind, step, dtype=np.int64))]
        edges = [start, *(border for border in borders if start < border < end), end]
        yield from ((a, b) for a, b in pairwise(edges) if a < b)

    def _times(
        self,
        snapshot: ArchiveSnapshot | None,
        spill: Spill,
        contract: Contract,
        symbols: list[str],
        first: int,
        behind: int,
    ) -> dict[str, Ints]:
        # A bar may be stamped a little before or after the range that it lies in.
        begin, stop = first - self._grid.interval_ns, behind + self._grid.interval_ns
        parts = [] if snapshot is None else [snapshot.times(symbols, begin, stop).select("symbol", "time")]
        waiting = spill.between(begin, stop)
        if waiting is not None:
            ns = nanoseconds_of(contract).alias("time")
            parts.append(waiting.select(pl.col(contract.key).alias("symbol"), ns))
        if not parts:
            return {}
        by_symbol = pl.concat(parts).partition_by("symbol", as_dict=True)
        return {str(symbol): part["time"].to_numpy().astype(np.int64) for (symbol,), part in by_symbol.items()}

    def _known(self, snapshot: ArchiveSnapshot | None, spill: Spill, contract: Contract) -> Collection[str]:
        found = set() if snapshot is None else set(snapshot.symbols())
        span = spill.span
        waiting = None if span is None else spill.between(span[0], span[1] + 1)
        return found if waiting is None else found | set(waiting[contract.key].to_list())

    def _now(self) -> int:
        return int(self._around.wall().timestamp() * 1e9)
