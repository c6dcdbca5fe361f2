"""What bars a calendar expects: a hole is a gap where a bar was due, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from schemas import grid as grid_module
from schemas.errors import ContractError
from schemas.grid import DAY, NANOS, WEEK, calendar_names, make_grid, missing_between

MINUTE, HOUR = 60 * NANOS, 3600 * NANOS


def missing(earlier: str, later: str, interval_ns: int, calendar: str) -> int:
    """How many bars are missing between two UTC times."""
    times = [
        np.array([int(datetime.fromisoformat(t).replace(tzinfo=UTC).timestamp()) * NANOS]) for t in (earlier, later)
    ]
    return int(missing_between(make_grid(interval_ns, calendar), *times)[0])


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("2024-01-04", "2024-01-05", 0),
        ("2024-01-05", "2024-01-08", 0),  # a weekend
        ("2024-01-04", "2024-01-08", 1),  # a Friday before it is missing
        ("2024-01-12", "2024-01-16", 0),  # Martin Luther King Day
        ("2024-01-02", "2024-01-10", 5),
        ("2024-01-05 05:00", "2024-01-08 05:00", 0),  # local midnights
        ("2024-03-08 05:00", "2024-03-11 04:00", 0),  # local midnights around the change to summer time
        ("2024-03-08 05:00", "2024-03-12 04:00", 1),
    ],
)
def test_a_daily_bar_is_due_every_session(earlier: str, later: str, expected: int) -> None:
    assert missing(earlier, later, DAY, "XNYS") == expected


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("2024-01-05 20:58", "2024-01-05 20:59", 0),
        ("2024-01-05 20:59", "2024-01-08 14:30", 0),  # close to open over a weekend
        ("2024-01-05 20:58", "2024-01-08 14:30", 1),  # the last bar is missing
        ("2024-01-05 20:59", "2024-01-08 14:31", 1),  # the first bar is missing
        ("2024-07-03 16:59", "2024-07-05 13:30", 0),  # early close, then Independence Day
        ("2024-07-03 16:58", "2024-07-05 13:30", 1),
        ("2024-07-02 19:59", "2024-07-03 13:30", 0),
        ("2024-03-08 20:59", "2024-03-11 13:30", 0),  # summer time begins: the exchange opens an hour earlier
        ("2024-11-01 19:59", "2024-11-04 14:30", 0),  # and ends
        ("2024-01-05 14:30", "2024-01-05 15:30", 59),
        ("2024-01-05 22:00", "2024-01-05 23:00", 0),  # after the close nothing is due
        ("2024-01-05 22:00", "2024-01-08 14:31", 1),  # but the first bar of the next session is
        ("2024-01-05 14:30", "2024-01-05 14:30", 0),
    ],
)
def test_a_minute_bar_is_due_while_the_exchange_is_open(earlier: str, later: str, expected: int) -> None:
    assert missing(earlier, later, MINUTE, "XNYS") == expected


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("2024-01-05 02:29", "2024-01-05 03:30", 0),  # Tokyo has lunch from 11:30 to 12:30
        ("2024-01-05 02:28", "2024-01-05 03:30", 1),
        ("2024-01-05 02:29", "2024-01-05 03:31", 1),
        ("1968-01-05 02:29", "1968-01-05 03:31", 0),  # before the calendar begins nothing is known to be due
    ],
)
def test_no_bar_is_due_during_a_lunch_break(earlier: str, later: str, expected: int) -> None:
    assert missing(earlier, later, MINUTE, "XTKS") == expected


def test_an_interval_that_does_not_divide_the_session_ends_with_a_shorter_bar() -> None:
    assert missing("2024-01-05 18:30", "2024-01-05 20:30", 2 * HOUR, "XNYS") == 0
    assert missing("2024-01-05 20:30", "2024-01-08 14:30", 2 * HOUR, "XNYS") == 0
    assert missing("2024-01-05 18:30", "2024-01-08 14:30", 2 * HOUR, "XNYS") == 1


def test_around_the_clock_every_bar_is_due() -> None:
    assert missing("2024-01-05 23:59", "2024-01-06 00:00", MINUTE, "24/7") == 0
    assert missing("2024-01-05", "2024-01-08", DAY, "24/7") == 2
    assert missing("1969-12-31 23:00", "1970-01-01 01:00", HOUR, "24/7") == 1


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("2024-01-01", "2024-01-08", 0),  # Mondays
        ("2024-01-05", "2024-01-12", 0),  # Fridays
        ("2024-01-01", "2024-01-15", 1),
        ("2024-03-04 05:00", "2024-03-11 04:00", 0),  # local midnights of Mondays
    ],
)
def test_a_weekly_bar_is_due_every_week_on_any_calendar(earlier: str, later: str, expected: int) -> None:
    assert missing(earlier, later, WEEK, "XNYS") == expected
    assert missing(earlier, later, WEEK, "24/7") == expected


def test_outside_the_bounds_of_a_calendar_nothing_is_missing() -> None:
    assert missing("2190-01-04", "2190-06-04", DAY, "XNYS") == 0
    assert missing("2190-01-04", "2190-06-04", MINUTE, "XNYS") == 0
    assert missing("1901-01-04", "1901-06-04", DAY, "XTKS") == 0
    assert missing("2015-01-05", "2015-01-09", DAY, "XSAU") == 0  # which begins in 2021


def test_a_row_of_an_absurd_year_hides_no_gap_of_another_row() -> None:
    grid = make_grid(DAY, "XNYS")
    dates = np.array(["2024-01-04", "2024-01-08", "2199-12-31", "1900-01-01"], "datetime64[ns]").astype(np.int64)
    assert missing_between(grid, dates[[0, 0, 3]], dates[[1, 2, 0]])[0] == 1


def test_a_calendar_that_cannot_be_computed_is_refused_before_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotImplementedError("implemented by subclasses")

    monkeypatch.setattr(grid_module, "_calendar", fail)
    with pytest.raises(ContractError, match="'XLIM' cannot be computed here: NotImplementedError"):
        make_grid(DAY, "XLIM")


def test_a_gap_over_the_turn_of_a_decade_is_found() -> None:
    assert missing("2019-12-31", "2020-01-02", DAY, "XNYS") == 0
    assert missing("2019-12-30", "2020-01-02", DAY, "XNYS") == 1
    assert missing("2018-01-02", "2031-01-02", DAY, "XNYS") > 3_000


def test_nothing_is_asked_of_a_calendar_without_times() -> None:
    empty = np.zeros(0, np.int64)
    for interval in (MINUTE, DAY, WEEK):
        assert missing_between(make_grid(interval, "XNYS"), empty, empty).tolist() == []


def test_an_unknown_calendar_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="'NASDAQ-ish' is unknown"):
        make_grid(DAY, "NASDAQ-ish")


@pytest.mark.parametrize("interval", [0, -1, 2 * DAY, WEEK + 1])
def test_an_interval_that_no_bar_has_is_refused(interval: int) -> None:
    with pytest.raises(ContractError, match="at most 1d, or 1w"):
        make_grid(interval, "24/7")


def test_a_dataset_may_use_any_exchange_or_the_whole_week() -> None:
    assert {"24/7", "XNYS", "XTKS", "NYSE"} <= set(calendar_names())
