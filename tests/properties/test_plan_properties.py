"""Whatever is asked for, whatever is there already, on any calendar: shards tile exactly what is missing."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import numpy.typing as npt
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from coordinator.plan import BackfillPlan, plan
from coordinator.ranges import Range, intersection, normalised, subtracted
from coordinator.shards import shard_id
from schemas.grid import DAY, NANOS
from tests.support.examples import examples

moderate = examples(50)

MINUTE, HOUR = 60 * NANOS, 3600 * NANOS
# Two changes to summer time, Easter, a holiday of Hong Kong only; a little of each side is never asked for.
FIRST = int(datetime(2024, 2, 26, tzinfo=UTC).timestamp()) * NANOS
LAST = int(datetime(2024, 4, 15, tzinfo=UTC).timestamp()) * NANOS
NOW = LAST + 30 * DAY
CALENDARS = ("24/7", "XNYS", "XHKG", "XLON")
INTERVALS = (DAY, HOUR, 5 * MINUTE, MINUTE, None)
SYMBOLS = ("A", "B", "C", "D")

Ints = npt.NDArray[np.int64]


@cache
def due(calendar: str, interval_ns: int) -> Ints:
    """The times at which a bar may be stamped, (bars, stamps), taken straight from the exchange's own table."""
    if calendar == "24/7":
        return np.arange(FIRST - DAY, LAST + DAY, interval_ns, dtype=np.int64)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exchange = exchange_calendars.get_calendar(calendar, start="2024-01-01", end="2024-06-30")
        table = exchange.schedule
    times: list[tuple[int, ...]] = []
    for session, row in table.iterrows():
        if interval_ns == DAY:
            utc = datetime.combine(session.date(), time(), UTC)
            local = datetime.combine(session.date(), time(), ZoneInfo(str(exchange.tz)))
            times.append(tuple(int(t.timestamp()) * NANOS for t in (utc, local)))
            continue
        broken = not pd.isna(row["break_start"])
        names = ["open", "break_start", "break_end", "close"] if broken else ["open", "close"]
        borders = [int(row[name].timestamp()) * NANOS for name in names]
        for start, end in zip(borders[::2], borders[1::2], strict=True):
            times += [(t,) for t in range(start, end, interval_ns)]
    return np.array(times, np.int64)


@dataclass(frozen=True)
class Case:
    """A request, and what is there already."""

    calendar: str
    interval_ns: int | None
    symbols: tuple[str, ...]
    range: Range
    coverage: Mapping[str, Sequence[Range]]
    target_rows: int
    partitions: int

    def plan(
        self,
        *,
        symbols: Sequence[str] | None = None,
        coverage: Mapping[str, Sequence[Range]] | None = None,
        range_: Range | None = None,
    ) -> BackfillPlan:
        return plan(
            "bars",
            self.symbols if symbols is None else symbols,
            range_ or self.range,
            self.coverage if coverage is None else coverage,
            "files:bars",
            None,
            self.target_rows,
            interval_ns=self.interval_ns,
            calendar=self.calendar,
            contract_version=1,
            partitions=self.partitions,
            now_ns=NOW,
        )

    def missing(self, symbol: str) -> npt.NDArray[np.bool_]:
        """Which of the bars that are due the symbol misses; a bar is in a range if the later of its stamps is."""
        assert self.interval_ns is not None
        at = due(self.calendar, self.interval_ns).max(axis=1)
        wanted: npt.NDArray[np.bool_] = (self.range.start <= at) & (at < self.range.end)
        for covered in self.coverage.get(symbol, ()):
            wanted &= ~((covered.start <= at) & (at < covered.end))
        return wanted


instants = st.one_of(
    st.integers(0, (LAST - FIRST) // DAY).map(lambda n: FIRST + n * DAY),
    st.integers(0, (LAST - FIRST) // HOUR).map(lambda n: FIRST + n * HOUR),
    st.integers(0, (LAST - FIRST) // (30 * NANOS)).map(lambda n: FIRST + n * 30 * NANOS),
    st.integers(FIRST, LAST),
)
ranges = st.tuples(instants, instants).map(lambda pair: Range(min(pair), max(pair)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    asked = draw(ranges.filter(lambda r: not r.empty))
    alike = draw(st.lists(ranges, max_size=4))
    covered = draw(st.lists(st.sampled_from(SYMBOLS), unique=True))
    coverage = {symbol: draw(st.just(alike) | st.lists(ranges, max_size=4)) for symbol in covered}
    interval_ns = draw(st.sampled_from(INTERVALS))
    rows = (asked.end - asked.start) // (interval_ns or NANOS) + 1
    return Case(
        draw(st.sampled_from(CALENDARS)),
        interval_ns,
        tuple(draw(st.permutations(SYMBOLS))[: draw(st.integers(1, len(SYMBOLS)))]),
        asked,
        coverage,
        -(-rows // draw(st.integers(1, 12))) * draw(st.sampled_from((1, 1, 2, 5))),
        draw(st.integers(1, 9)),
    )


def ranges_of(made: BackfillPlan) -> dict[str, list[Range]]:
    """The ranges of the shards of each symbol, in the order of the shards."""
    found: dict[str, list[Range]] = defaultdict(list)
    for shard in made.shards:
        for symbol in shard.symbols:
            found[symbol].append(Range(shard.start, shard.end))
    return found


@moderate
@given(cases())
def test_shards_tile_exactly_what_is_missing(case: Case) -> None:
    made = case.plan()
    found = ranges_of(made)
    assert found.keys() == made.missing.keys() <= set(case.symbols)
    for symbol in case.symbols:
        mine = found[symbol]
        assert all(a.end <= b.start for a, b in pairwise(mine)), "shards overlap"
        assert normalised(mine) == made.missing.get(symbol, ())
        if case.interval_ns is None:
            assert normalised(mine) == subtracted([case.range], normalised(case.coverage.get(symbol, ())))
            continue
        stamps = due(case.calendar, case.interval_ns)
        wanted = case.missing(symbol)
        for stamp in stamps.T:
            times = np.zeros(len(stamps), np.int64)
            for r in mine:
                times[np.searchsorted(stamp, r.start) : np.searchsorted(stamp, r.end)] += 1
            assert np.array_equal(times, wanted.astype(np.int64)), "a bar that is missing is not in exactly one shard"
        assert all(wanted[(stamps.min(1) >= r.start) & (stamps.max(1) < r.end)].any() for r in mine), "an empty shard"
        if case.interval_ns < DAY:
            # A border moves within one bar only, and never to before what was asked for.
            assert all(case.range.start <= r.start and r.end < case.range.end + case.interval_ns for r in mine)


@moderate
@given(cases())
def test_bars_are_estimated_as_they_are_counted(case: Case) -> None:
    made = case.plan()
    assert made.estimated_rows == sum(shard.estimated_rows for shard in made.shards)
    if case.interval_ns is not None:
        assert made.estimated_rows == sum(int(case.missing(symbol).sum()) for symbol in case.symbols)
    assert all(1 <= shard.estimated_rows <= 1.25 * case.target_rows + 1 for shard in made.shards)


@moderate
@given(cases(), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_of_anything(case: Case, random: object) -> None:
    made = case.plan()
    shuffle = random.shuffle  # type: ignore[attr-defined]
    symbols = [*case.symbols, case.symbols[0]]
    shuffle(symbols)
    coverage = {symbol: list(ranges) for symbol, ranges in reversed(list(case.coverage.items()))}
    for covered in coverage.values():
        shuffle(covered)
    assert case.plan(symbols=symbols, coverage=coverage) == made


@moderate
@given(cases(), instants)
def test_equal_pieces_have_equal_ids_and_different_ones_do_not(case: Case, cut: int) -> None:
    made = case.plan()
    pieces = {shard.id: (shard.symbols, shard.start, shard.end) for shard in made.shards}
    assert len(pieces) == len(made.shards)
    for name, (symbols, start, end) in pieces.items():
        assert name == shard_id("bars", symbols, start, end, "files:bars", None, 1)
    if case.range.start < cut:
        other = case.plan(range_=Range(case.range.start, cut))
        for shard in other.shards:
            same = (shard.symbols, shard.start, shard.end) in pieces.values()
            assert same == (shard.id in pieces)


@moderate
@given(cases())
def test_no_partition_gets_more_than_the_mean_and_the_largest_shard(case: Case) -> None:
    made = case.plan()
    loads: Counter[int] = Counter()
    for shard in made.shards:
        assert 0 <= shard.partition < case.partitions
        loads[shard.partition] += shard.estimated_rows
    if made.shards:
        largest = max(shard.estimated_rows for shard in made.shards)
        assert max(loads.values()) <= made.estimated_rows / case.partitions + largest


@moderate
@given(cases(), ranges.filter(lambda r: not r.empty))
def test_what_is_planned_is_not_planned_again(case: Case, asked: Range) -> None:
    made = case.plan()
    found = ranges_of(made)
    coverage = {s: [*case.coverage.get(s, ()), *found[s]] for s in case.symbols}
    again = case.plan(coverage=coverage)
    assert (again.shards, again.missing, again.estimated_rows) == ((), {}, 0)
    assert again.reason is not None
    assert again.job == made.job
    # An overlapping request plans only the rest.
    for symbol, more in ranges_of(case.plan(coverage=coverage, range_=asked)).items():
        assert not intersection(normalised(more), normalised(found[symbol]))
