"""What a fetch knows so far: rows of archive and Kafka as one, how complete they are, and why something is missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from coordinator.ranges import Range
from schemas.columns import empty_like, to_polars
from schemas.contract import Contract, load_contract
from schemas.grid import DAY, make_grid
from streams.archive.coverage import SymbolCoverage, cover_each
from streams.archive.layout import NORMALIZED, SYSTEM, TOPIC, Source
from streams.archive.reader import ArchiveRows, ArchiveSnapshot, as_users_want
from streams.partitioning import partition_of
from streams.provider.edge import counted_until, edge_since, is_passed_over, split_at_edge
from streams.provider.merging import margin_of, merged, without_archive
from streams.provider.phases import PhaseReport
from streams.provider.result import FetchResult, Missing, Why
from streams.provider.stream_history import in_columns_of_contract
from streams.provider.stream_order import nanoseconds_of
from streams.provider.tail import Tail, Wanted
from streams.settings import Settings
from streams.sla_exceeded import MissingRange

__all__ = ["Gathered"]

_NONE = np.zeros(0, np.int64)
_DAY_NS = 86_400_000_000_000


class Gathered:
    """Rows and what they cover; for one thread.

    Args:
        now: nanoseconds since the epoch.

    Attributes:
        snapshot: the archive's table at one version; None if there is none, or (`archive_away`) none can be read.
        rows: the newest row of each identity that is known.
        coverage: by symbol, of the bars that have ended.
        holes: what is missing, by symbol; only symbols of which something is.
        why, why_detail: why bars that ended a while ago are missing.
        failures, failed_job: what a job could not fetch.
    """

    def __init__(self, settings: Settings, wanted: Wanted, now: int) -> None:
        self._settings, self._wanted = settings, wanted
        self._dataset = settings.dataset(wanted.dataset)
        self._interval = self._dataset.interval_ns()
        self._grid = make_grid(self._interval or DAY, self._dataset.calendar)
        contract = load_contract(self._dataset.contract)
        self.rows = ArchiveRows(to_polars(empty_like(contract.columns), contract.record), contract, 0)
        self.snapshot: ArchiveSnapshot | None = None
        self.archive_away = False
        self.coverage: dict[str, SymbolCoverage] = {}
        self.holes: dict[str, tuple[Range, ...]] = {}
        self.why: Why = "not_yet"
        self.why_detail = ""
        self.failures: list[tuple[Range, tuple[str, ...], str]] = []
        self.failed_job = ""
        self._archived: ArchiveRows | None = None
        self._tail: Tail | None = None
        self._watermarks: dict[int, int] = {}
        self._now = now

    # Rows

    def take_archive(self, snapshot: ArchiveSnapshot | None, rows: ArchiveRows | None) -> None:
        """Take what the archive has."""
        self.snapshot, self._archived = snapshot, rows
        if rows is not None:
            self.rows = rows

    def places(self) -> tuple[Mapping[Source, int] | None, tuple[Contract, int] | None]:
        """Return where to read on in Kafka, and the version of the contract whose columns rows have so far."""
        if self._tail is not None:
            return self._tail.reached, (self._tail.contract, self._tail.version)
        if self.snapshot is not None:
            return self.snapshot.positions, (self.snapshot.contract, self.snapshot.contract_version)
        return (None if self.archive_away else {}), None

    def widened(self) -> Wanted:
        """Return what to read of Kafka: also rows so far outside that they may have moved into or out of the range."""
        wanted, margin = self._wanted, margin_of(self.rows.contract)
        return Wanted(wanted.dataset, wanted.symbols, wanted.start - margin, wanted.end + margin, wanted.as_of)

    def add(self, tail: Tail) -> bool:
        """Take what was read of Kafka; return whether the rows have to be merged anew."""
        for partition, at in tail.watermarks.items():
            self._watermarks[partition] = max(at, self._watermarks.get(partition, at))
        before, self._tail = self._tail, tail
        if before is not None:
            frame = tail.frame
            if before.frame.height:
                frame = pl.concat([_in_columns(before, tail), tail.frame])
            self._tail = Tail(frame, tail.contract, tail.version, {**before.reached, **tail.reached})
        return bool(tail.frame.height) or before is None or before.version != tail.version

    def merge(self) -> ArchiveRows:
        """Return archived rows and Kafka's as one; ArchiveUnavailable."""
        assert self._tail is not None
        if self.snapshot is None or self._archived is None:
            return without_archive(self._tail, self._wanted)
        return merged(self.snapshot, self._archived, self._tail, self._wanted)

    def newest(self) -> int | None:
        """Return the greatest event time, nanoseconds since the epoch."""
        return _time(self.rows.frame.select(nanoseconds_of(self.rows.contract).max()).item())

    def newest_live(self) -> int | None:
        """Return the greatest event time of rows that came live; of archived ones, those of the last day that has any.

        Raises:
            ArchiveUnavailable: if the storage does not answer.
        """
        is_live = pl.col(TOPIC) == NORMALIZED
        found = []
        if self._tail is not None:
            found.append(self._tail.frame.filter(is_live).select(nanoseconds_of(self._tail.contract).max()))
        newest = self.newest()
        if self.snapshot is not None and newest is not None:
            stored = self.snapshot.stored(self._wanted.symbols, newest - _DAY_NS, self._wanted.end)
            live = as_users_want(stored.filter(is_live), self.snapshot.contract)
            found.append(live.select(nanoseconds_of(self.snapshot.contract).max()))
        return max((value for frame in found if (value := _time(frame.item())) is not None), default=None)

    # What is missing

    def look(self, now: int) -> None:
        """Hold the rows against interval and calendar, up to the last bar that has ended."""
        wanted = self._wanted
        self._now = now if wanted.as_of is None else min(now, wanted.as_of * 1_000_000)
        until = counted_until(self._grid, wanted.start, wanted.end, self._now)
        contract = self.rows.contract
        times = self.rows.frame.select(pl.col(contract.key).alias("symbol"), nanoseconds_of(contract).alias("time"))
        parts = times.group_by("symbol").agg("time")
        by_symbol = {str(name): part.to_numpy() for name, part in zip(parts["symbol"], parts["time"], strict=True)}
        names = sorted(wanted.symbols or {*by_symbol, *(self._dataset.symbols or ())})
        self.coverage = cover_each(
            self._grid, {name: by_symbol.get(name, _NONE) for name in names}, wanted.start, max(until, wanted.start)
        )
        self.holes = {name: one.missing for name, one in self.coverage.items() if one.missing}

    @property
    def ratio(self) -> float:
        """Which share of the expected bars is there; 1 where none is expected."""
        expected = sum(one.expected for one in self.coverage.values())
        return sum(one.present for one in self.coverage.values()) / expected if expected else 1.0

    def past(self) -> dict[str, list[Range]]:
        """Return what is missing and ended so long ago that it will not come live, by symbol."""
        return {name: past for name, holes in self.holes.items() if (past := self._parted(holes)[0])}

    def awaited(self) -> list[tuple[str, Range]]:
        """Return the missing bars that may still come live."""
        found = ((name, hole) for name, holes in self.holes.items() for hole in self._parted(holes)[1])
        return [(name, hole) for name, hole in found if not self._is_passed_over(name, hole)]

    def named_edge(self) -> str:
        """Return what is waited for, in words."""
        waited = [str(MissingRange(name, hole.start, hole.end)) for name, hole in self.awaited()]
        more = f" and {len(waited) - 1:,} more" if len(waited) > 1 else ""
        return f"the bar of {waited[0]}{more}" if waited else "nothing"

    def missing(self) -> tuple[Missing, ...]:
        """Return all that is missing, with why."""
        found: list[Missing] = []
        for name, holes in self.holes.items():
            past, edge = self._parted(holes)
            found += [self._explained(name, hole) for hole in past]
            for hole in edge:
                why: Why = "passed_over" if self._is_passed_over(name, hole) else "not_yet"
                found.append(Missing(name, hole.start, hole.end, why))
        return tuple(sorted(found))

    def result(self, report: PhaseReport, degraded: Mapping[str, str], said: Mapping[str, str]) -> FetchResult:
        """Return what the fetch gives."""
        wanted = self._wanted
        reached = {} if self._tail is None else self._tail.reached
        return FetchResult(
            dataset=wanted.dataset,
            symbols=tuple(self.coverage),
            start=wanted.start,
            end=wanted.end,
            frame=self.rows.frame,
            contract=self.rows.contract,
            contract_version=self.rows.contract_version,
            coverage=self.coverage,
            missing=self.missing(),
            timings=report.timings,
            violations=report.violations,
            partial=report.partial,
            reasons={**said, **report.reasons},
            degraded=dict(degraded),
            positions={**({} if self.snapshot is None else self.snapshot.positions), **reached},
            as_of=wanted.as_of,
            fetch_id=report.fetch_id,
        )

    # How

    def _parted(self, holes: tuple[Range, ...]) -> tuple[list[Range], list[Range]]:
        if self._interval is None or self._wanted.as_of is not None:
            return list(holes), []
        return split_at_edge(self._grid, holes, edge_since(self._interval, self._now))

    def _is_passed_over(self, symbol: str, hole: Range) -> bool:
        return is_passed_over(hole, self._watermarks.get(partition_of(symbol, self._dataset.partitions)))

    def _explained(self, symbol: str, hole: Range) -> Missing:
        for piece, symbols, error in self.failures:
            if symbol in symbols and piece.start < hole.end and hole.start < piece.end:
                return Missing(symbol, hole.start, hole.end, "job_failed", error)
        if self.failed_job and not self.failures:
            return Missing(symbol, hole.start, hole.end, "job_failed", self.failed_job)
        return Missing(symbol, hole.start, hole.end, self.why, self.why_detail)


def _in_columns(before: Tail, tail: Tail) -> pl.DataFrame:
    if before.version == tail.version:
        return before.frame
    empty = to_polars(empty_like(tail.contract.columns), tail.contract.record)
    own = in_columns_of_contract(before.frame, tail.contract, empty)
    return own.hstack(before.frame.select(list(SYSTEM)))


def _time(value: object) -> int | None:
    return value if isinstance(value, int) else None
