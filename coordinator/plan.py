"""The planner: what of a request is missing, as shards. Pure: it reads no clock, no topic and no source.

What belongs to a request:

- Bars: those that the dataset's calendar and interval expect with start <= time < end and that have ended. A border
  inside a bar moves to the bar's end, so equal bars make equal shards; other borders stay, so what a vendor sends
  before the opening or after the close is fetched as well. A range in which no bar is due (a weekend) needs no shard.
- Daily bars of an exchange are stamped at midnight UTC or at midnight on its clock. Both must fall into one shard, so
  a day starts at the earlier of the two and is in the request if the later is. West of Greenwich those are days of
  UTC, east of it days on the exchange's clock: a shard for Hong Kong's Monday starts at 16:00 UTC on Sunday.
- Ticks (no interval): every instant, as trades come outside sessions too. The calendar only weighs: rows are expected
  while the exchange is open, so shards hold about as many rows whether they span a night or not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from coordinator.cuts import Hole, cut, dealt, pieces_of
from coordinator.protocol import BackfillRejected
from coordinator.ranges import Range, normalised, subtracted
from coordinator.shards import Shard, job_id, shard_id
from schemas.expected import Expected
from schemas.grid import ALWAYS_OPEN, NANOS, make_grid

__all__ = ["MAX_SHARDS", "TICKS_PER_SECOND", "BackfillPlan", "Estimate", "plan"]

Ints = npt.NDArray[np.int64]

# A job lists its shards in one record, and a broker takes a record of one megabyte.
MAX_SHARDS = 30_000
# What a symbol's ticks are taken for if nobody estimates them: 86,400 a day around the clock, 23,400 in a session of
# New York.
TICKS_PER_SECOND = 1
_EARLIEST = int(datetime(1900, 1, 1, tzinfo=UTC).timestamp()) * NANOS

# Returns about how many rows some symbols have from a start up to an end, nanoseconds since the epoch.
Estimate = Callable[[Sequence[str], int, int], int]


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a request comes to.

    Attributes:
        job: id of the request.
        shards: what is to be fetched, by time.
        missing: by symbol, sorted, disjoint: the ranges that the symbol's shards tile; symbols that miss nothing are
            left out.
        estimated_rows: of all shards.
        reason: why there is no shard; None if there are some.
    """

    job: str
    shards: tuple[Shard, ...]
    missing: Mapping[str, tuple[Range, ...]]
    estimated_rows: int
    reason: str | None = None


def plan(
    dataset: str,
    symbols: Iterable[str],
    range: Range,  # noqa: A002 - the word that callers use
    coverage: Mapping[str, Sequence[Range]],
    source: str,
    as_of: int | None,
    target_rows: int,
    *,
    interval_ns: int | None,
    calendar: str,
    contract_version: int,
    partitions: int,
    now_ns: int,
    urgent: bool = False,
    estimate: Estimate | None = None,
    known: Collection[str] | None = None,
) -> BackfillPlan:
    """Cut what is missing of a range into shards, spread over the partitions of a queue.

    The order of symbols and coverage does not matter, and equal pieces have equal ids whatever else was asked for.

    Args:
        dataset: its name.
        symbols: asked for; doubles are merged.
        range: asked for, nanoseconds since the epoch.
        coverage: what need not be fetched, by symbol, in any order; whole bars, as in the ranges of shards.
        source: specification of where the rows come from.
        as_of: the moment as of which they are known, milliseconds since the epoch; None: now.
        target_rows: rows that a shard should have, about.
        interval_ns: of the dataset's bars; None for ticks.
        calendar: the dataset's, as in `schemas.grid`.
        contract_version: in the registry.
        partitions: of the queue; no partition gets more rows than the mean and the largest shard.
        now_ns: now, nanoseconds since the epoch.
        urgent: whether the shards go before others.
        estimate: of ticks; asked once for each range that symbols miss. Bars are counted on the calendar instead.
        known: the dataset's symbols; None if any may be asked for.

    Raises:
        BackfillRejected: if the request makes no sense; it names the field.
        ContractError: if there is no such calendar, or no bar has the interval.
    """
    names = _names(symbols, known)
    _check(range, now_ns, target_rows)
    job = job_id(dataset, names, range.start, range.end, source, as_of, contract_version)
    if interval_ns is None:
        expected = make_grid(NANOS, calendar).expected(range.start, range.end)
        asked = range
    else:
        expected = make_grid(interval_ns, calendar).expected(range.start, range.end)
        asked = _ended(range, expected, now_ns - interval_ns + 1)
    missing = _missing(names, asked, coverage, expected if interval_ns is not None else None)
    holes = _holes(missing, expected, interval_ns is not None, estimate)
    if not holes:
        return BackfillPlan(job, (), {}, 0, _reason(range, asked, expected, interval_ns, calendar))
    count = pieces_of(holes, target_rows)
    if count > MAX_SHARDS:
        raise BackfillRejected(
            f"this would be {count:,} shards of about {target_rows:,} rows, and {MAX_SHARDS:,} is the most: "
            "raise target_rows, or ask for less time or fewer symbols",
            field="target_rows",
        )
    pieces = cut(holes, expected, target_rows)
    turns = dealt([piece.rows for piece in pieces], partitions, int(job[-8:], 16) % partitions)
    moment = now_ns // 1_000_000 if as_of is None else as_of
    shards = tuple(
        Shard(
            id=shard_id(dataset, group, start, end, source, as_of, contract_version),
            job=job,
            dataset=dataset,
            symbols=group,
            start=start,
            end=end,
            source=source,
            as_of=moment,
            contract_version=contract_version,
            estimated_rows=rows,
            partition=partition,
            urgent=urgent,
        )
        for (start, end, group, rows), partition in zip(pieces, turns, strict=True)
    )
    return BackfillPlan(job, shards, {n: missing[n] for n in names if missing[n]}, sum(p.rows for p in pieces))


def _names(symbols: Iterable[str], known: Collection[str] | None) -> tuple[str, ...]:
    names = tuple(sorted(set(symbols)))
    if not names:
        raise BackfillRejected("no symbol is asked for: name at least one", field="symbols")
    if any(not name.strip() for name in names):
        raise BackfillRejected("a symbol is blank: leave it out, or name it", field="symbols")
    unknown = [] if known is None else sorted(set(names) - set(known))
    if unknown:
        more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
        raise BackfillRejected(
            f"unknown: {', '.join(unknown[:5])}{more}; leave them out, or add them to the dataset's symbols",
            field="symbols",
        )
    return names


def _check(asked: Range, now_ns: int, target_rows: int) -> None:
    if target_rows < 1:
        raise BackfillRejected(f"a shard of {target_rows} rows holds nothing: ask for at least 1", field="target_rows")
    if asked.start < _EARLIEST:
        raise BackfillRejected("the range begins before 1900: give a later start", field="start")
    if asked.end == asked.start:
        raise BackfillRejected(
            f"the range is empty: its end, {_when(asked.end)}, is its start; give a later end", field="end"
        )
    if asked.end < asked.start:
        raise BackfillRejected(
            f"the range is reversed: it ends at {_when(asked.end)}, before its start at {_when(asked.start)}; "
            "exchange the two",
            field="end",
        )
    if asked.end > now_ns:
        raise BackfillRejected(
            f"the range ends at {_when(asked.end)}, which is in the future: ask for history up to {_when(now_ns)}",
            field="end",
        )


def _ended(asked: Range, expected: Expected, unended: int) -> Range:
    """Return the range without the bars at or after `unended`: they still change."""
    whole, ended = (int(n) for n in expected.before(np.array([asked.end, min(asked.end, unended)], np.int64)))
    if ended == whole:
        return asked
    return Range(asked.start, int(expected.starts(np.array([ended], np.int64))[0]))


def _missing(
    names: Sequence[str], asked: Range, coverage: Mapping[str, Sequence[Range]], bars: Expected | None
) -> dict[str, tuple[Range, ...]]:
    """Return what each symbol misses; with `bars`, in whole ones, and without ranges in which none is due."""
    whole = normalised((asked,))
    places: dict[tuple[Range, ...], int] = {}  # most symbols are covered like many others
    place = {name: places.setdefault(tuple(coverage.get(name, ())), len(places)) for name in names}
    rests = [subtracted(whole, normalised(covered)) for covered in places]
    if bars is not None:
        rests = _whole_bars(rests, bars)
    return {name: rests[place[name]] for name in names}


def _whole_bars(sets: Sequence[Sequence[Range]], bars: Expected) -> list[tuple[Range, ...]]:
    """Return the ranges with borders between bars, without those in which none is due."""
    borders = bars.aligned(_borders(range_ for ranges in sets for range_ in ranges)).reshape(-1, 2).tolist()
    aligned = iter(Range(start, end) for start, end in borders)
    merged = [normalised(next(aligned) for _ in ranges) for ranges in sets]
    # Ranges that an aligned border made touch are one by now.
    counts = bars.before(_borders(range_ for ranges in merged for range_ in ranges)).reshape(-1, 2)
    due = iter((counts[:, 0] < counts[:, 1]).tolist())
    return [tuple(range_ for range_ in ranges if next(due)) for ranges in merged]


def _holes(
    missing: Mapping[str, tuple[Range, ...]], expected: Expected, bars: bool, estimate: Estimate | None
) -> list[Hole]:
    """Return the ranges that are missing, each with the symbols that miss it, sorted."""
    alike: dict[tuple[Range, ...], list[str]] = {}
    for name, ranges in missing.items():
        alike.setdefault(ranges, []).append(name)
    symbols: dict[Range, list[str]] = {}
    for ranges, names in alike.items():
        for range_ in ranges:
            symbols.setdefault(range_, []).extend(names)
    numbers = expected.before(_borders(symbols)).reshape(-1, 2).tolist()
    holes: list[Hole] = []
    for (range_, names), (first, after) in zip(symbols.items(), numbers, strict=True):
        rows = after - first
        if not bars:
            rows *= TICKS_PER_SECOND
            if estimate is not None:
                rows = -(-estimate(sorted(names), range_.start, range_.end) // len(names))
        holes.append(Hole(range_, tuple(sorted(names)), first, after - first, max(1, rows)))
    return holes


def _reason(asked: Range, ended: Range, expected: Expected, interval_ns: int | None, calendar: str) -> str:
    """Return why nothing is left of what was asked for."""
    if interval_ns is None:
        return "all of it is covered"
    low, high, last = (int(n) for n in expected.before(np.array([asked.start, asked.end, ended.end], np.int64)))
    if last > low:
        return "all of it is covered"
    if high > low:
        return "no bar of the range has ended yet"
    open_, close = make_grid(NANOS, calendar).expected(asked.start, asked.end).before(_borders([asked]))
    if calendar != ALWAYS_OPEN and open_ == close:
        return f"no trading session lies in the range (calendar {calendar})"
    return "no bar begins in the range, which is shorter than the dataset's interval"


def _borders(ranges: Iterable[Range]) -> Ints:
    """Return starts and ends by turns."""
    return np.fromiter((border for range_ in ranges for border in (range_.start, range_.end)), np.int64)


def _when(instant: int) -> str:
    """Return a time as people read it."""
    try:
        return datetime.fromtimestamp(instant // NANOS, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{instant} ns since 1970"
