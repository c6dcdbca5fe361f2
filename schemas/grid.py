"""Which bars a calendar and an interval expect: the ground on which a hole is a gap and a weekend is none.

Sessions come from `exchange_calendars`; a lunch break splits a session in two. `24/7` expects a bar always.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from schemas.errors import ContractError
from schemas.expected import Expected

if TYPE_CHECKING:
    import pandas as pd

# exchange_calendars and pandas take more than a second to import, so only the functions that need them do.

__all__ = ["Grid", "calendar_names", "make_grid", "missing_between"]

Ints = npt.NDArray[np.int64]

NANOS = 1_000_000_000
DAY = 86_400 * NANOS
WEEK = 7 * DAY
_MONDAY = 4 * DAY  # 1970-01-05 was the first Monday after the epoch
ALWAYS_OPEN = "24/7"
# Years that a calendar is asked about: a time outside is most likely wrong, and not worth the seconds that a calendar
# of centuries takes to build. Nothing is expected there.
_FIRST_YEAR, _LAST_YEAR = 1900, 2059
# Two years that every calendar knows.
_KNOWN_TO_ALL = ("2022-01-01", "2023-12-31")
_NEVER = np.iinfo(np.int64).min


class Grid(Protocol):
    """Numbers the expected bars of an interval."""

    interval_ns: int

    def index(self, times: Ints) -> Ints:
        """Return, for nanoseconds since the epoch, the number of the last expected bar at or before each.

        Numbers are comparable within one call only.
        """
        ...

    def expected(self, start: int, end: int) -> Expected:
        """Return the bars expected from `start` up to `end` (nanoseconds since the epoch), and some around them."""
        ...


def missing_between(grid: Grid, earlier: Ints, later: Ints) -> Ints:
    """Return how many expected bars lie strictly between each pair of times (nanoseconds since the epoch)."""
    index = grid.index(np.concatenate((earlier, later)))
    missing: Ints = np.maximum(index[len(earlier) :] - index[: len(earlier)] - 1, 0)
    return missing


def calendar_names() -> list[str]:
    """Return the names a dataset may use as its calendar."""
    import exchange_calendars

    return sorted({ALWAYS_OPEN, *exchange_calendars.get_calendar_names(include_aliases=True)})


@lru_cache(maxsize=64)
def make_grid(interval_ns: int, calendar: str) -> Grid:
    """Return the grid of an interval on a calendar.

    Raises:
        ContractError: if there is no such calendar, or the interval is none that bars have.
    """
    if calendar != ALWAYS_OPEN and calendar not in calendar_names():
        raise ContractError(f"calendar {calendar!r} is unknown: use 24/7 or a name that exchange_calendars knows")
    if interval_ns <= 0 or (interval_ns > DAY and interval_ns != WEEK):
        raise ContractError("the interval must be at most 1d, or 1w")
    if interval_ns == WEEK:
        return _Steps(interval_ns, _MONDAY)
    if calendar == ALWAYS_OPEN:
        return _Steps(interval_ns, 0)
    try:
        _schedule(calendar, 2020, 2029)
    except Exception as error:
        # Some calendars do not get along with some versions of pandas; that must not come out at the first hole.
        raise ContractError(f"calendar {calendar!r} cannot be computed here: {error!r}") from error
    return _Sessions(calendar) if interval_ns == DAY else _Intraday(interval_ns, calendar)


class _Steps:
    """A bar every interval, always."""

    def __init__(self, interval_ns: int, origin: int) -> None:
        self.interval_ns, self._origin = interval_ns, origin

    def index(self, times: Ints) -> Ints:
        index: Ints = (times - self._origin) // self.interval_ns
        return index

    def expected(self, start: int, end: int) -> Expected:
        # One more on each side, so that there is a bar around every time of the range.
        first = (start - self._origin) // self.interval_ns - 1
        last = -(-(end - self._origin) // self.interval_ns) + 1
        runs = np.array([first, last], np.int64) * self.interval_ns + self._origin
        counts = np.array([last - first], np.int64)
        return Expected.of_runs(self.interval_ns, runs[:1], counts, runs[1:])


class _Sessions:
    """A bar every session. A time at midnight UTC is the session's date; any other is read on the exchange's clock."""

    interval_ns = DAY

    def __init__(self, calendar: str) -> None:
        self._calendar = calendar

    def index(self, times: Ints) -> Ints:
        if not len(times):
            return times
        schedule = _schedule(self._calendar, *_years(times))
        days = times // DAY
        clocked = times % DAY != 0
        if clocked.any():
            import pandas as pd

            local = pd.DatetimeIndex(times[clocked]).tz_localize("UTC").tz_convert(schedule.zone)
            days[clocked] = np.asarray(local.tz_localize(None).as_unit("ns")).astype(np.int64) // DAY
        return np.searchsorted(schedule.days, days, side="right") - 1

    def expected(self, start: int, end: int) -> Expected:
        """Return the sessions' bars; each starts at the earlier of its two midnights, and is at the later.

        A bar is stamped at midnight UTC or at midnight on the exchange's clock, so both must lie in it, and no time
        that has just one of them behind it is after the bar. It ends where that of the next day would start. West of
        Greenwich that makes days of UTC; east of it days of the exchange, whose Monday begins on a Sunday of UTC.
        """
        schedule = _schedule(self._calendar, *_years(np.array([start, end], np.int64)))
        utc, local = schedule.days * DAY, _midnights(schedule.days, schedule.zone)
        at = np.maximum(utc, local)
        until = np.minimum(utc + DAY, _midnights(schedule.days + 1, schedule.zone))
        return Expected.of_runs(DAY, at, np.ones_like(at), until, at - np.minimum(utc, local))


class _Intraday:
    """Bars of an interval from each opening to the closing (or to and from the lunch break)."""

    def __init__(self, interval_ns: int, calendar: str) -> None:
        self.interval_ns, self._calendar = interval_ns, calendar

    def index(self, times: Ints) -> Ints:
        if not len(times):
            return times
        schedule = _schedule(self._calendar, *_years(times))
        bars = -(-(schedule.closes - schedule.opens) // self.interval_ns)
        before = np.concatenate(([0], np.cumsum(bars)))
        at = np.searchsorted(schedule.opens, times, side="right") - 1
        inside = np.clip(at, 0, None)
        step = np.minimum((times - schedule.opens[inside]) // self.interval_ns, bars[inside] - 1)
        return np.where(at < 0, -1, before[inside] + step)

    def expected(self, start: int, end: int) -> Expected:
        schedule = _schedule(self._calendar, *_years(np.array([start, end], np.int64)))
        bars = -(-(schedule.closes - schedule.opens) // self.interval_ns)
        return Expected.of_runs(self.interval_ns, schedule.opens, bars, schedule.closes)


class _Schedule:
    """Sessions of some years: days (since the epoch), openings and closings (nanoseconds; breaks split them)."""

    def __init__(self, calendar: str, first: int, last: int) -> None:
        exchange = _calendar(calendar, first, last)
        self.zone = exchange.tz
        self.days = _nanos(exchange.sessions) // DAY
        opens, closes = _nanos(exchange.opens), _nanos(exchange.closes)
        starts, ends = _nanos(exchange.break_starts), _nanos(exchange.break_ends)
        broken = starts != _NEVER
        self.opens = np.sort(np.concatenate((opens, ends[broken])))
        self.closes = np.sort(np.concatenate((np.where(broken, starts, closes), closes[broken])))


@lru_cache(maxsize=64)
def _schedule(calendar: str, first: int, last: int) -> _Schedule:
    with warnings.catch_warnings():
        # exchange_calendars uses what pandas will change one day; nobody here can do anything about it.
        warnings.simplefilter("ignore")
        return _Schedule(calendar, first, last)


def _calendar(name: str, first: int, last: int) -> Any:
    """Return the calendar for whole years, as far as it knows them; outside, nothing is expected, so nothing misses."""
    import exchange_calendars
    import pandas as pd

    known = exchange_calendars.get_calendar(name, start=_KNOWN_TO_ALL[0], end=_KNOWN_TO_ALL[1])
    start, end = pd.Timestamp(year=first, month=1, day=1), pd.Timestamp(year=last, month=12, day=31)
    earliest, latest = type(known).bound_min(), type(known).bound_max()
    start = start if earliest is None else max(start, earliest)
    end = end if latest is None else min(end, latest)
    if end - start < pd.Timedelta(days=366):
        return known
    return exchange_calendars.get_calendar(name, start=start, end=end)


def _midnights(days: Ints, zone: Any) -> Ints:
    """Return midnight on the clock of a zone, for days since the epoch; where clocks skip or repeat it, the first."""
    import pandas as pd

    naive = pd.DatetimeIndex((days * DAY).astype("datetime64[ns]"))
    first = np.ones(len(naive), np.bool_)
    return _nanos(naive.tz_localize(zone, ambiguous=first, nonexistent="shift_forward"))


def _years(times: Ints) -> tuple[int, int]:
    """Return whole decades around the times, so that few different schedules are ever built."""
    first, last = (
        int(np.datetime64(int(t), "ns").astype("datetime64[Y]").astype(int)) + 1970 for t in (times.min(), times.max())
    )
    first, last = max(first, _FIRST_YEAR), min(last, _LAST_YEAR)
    if first > last:
        first = last = min(max(first, _FIRST_YEAR), _LAST_YEAR)
    return max((first - 1) // 10 * 10, _FIRST_YEAR), min((last + 1) // 10 * 10 + 9, _LAST_YEAR)


def _nanos(index: pd.DatetimeIndex | pd.Series) -> Ints:
    """Return nanoseconds since the epoch; `_NEVER` for a break that a session does not have."""
    import pandas as pd

    values = pd.DatetimeIndex(index).as_unit("ns")
    return np.where(np.asarray(values.isna()), _NEVER, np.asarray(values.asi8, dtype=np.int64))
