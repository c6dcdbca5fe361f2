"""Expected bars by number: how many lie before a time, where each is, and where a border may be."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from schemas import grid as grid_module
from schemas.expected import Expected
from schemas.grid import DAY, NANOS, WEEK, make_grid

MINUTE, HOUR = 60 * NANOS, 3600 * NANOS


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANOS


def text(time: int) -> str:
    return str(np.datetime64(int(time), "ns").astype("datetime64[m]")).replace("T", " ")


def due(start: str, end: str, interval_ns: int, calendar: str) -> list[tuple[str, str]]:
    """Where each bar with start <= time < end begins and ends."""
    expected = make_grid(interval_ns, calendar).expected(at(start), at(end))
    first, after = expected.before(np.array([at(start), at(end)]))
    numbers = np.arange(first, after)
    return [(text(s), text(e)) for s, e in zip(expected.starts(numbers), expected.ends(numbers), strict=True)]


def aligned(time: str, interval_ns: int, calendar: str) -> str:
    expected = make_grid(interval_ns, calendar).expected(at("2024-01-01"), at("2024-12-01"))
    return text(int(expected.aligned(np.array([at(time)]))[0]))


def test_intraday_bars_run_from_the_opening_to_the_close_and_the_last_may_be_short() -> None:
    assert due("2024-07-02 19:00", "2024-07-05 15:00", 2 * HOUR, "XNYS") == [
        ("2024-07-02 19:30", "2024-07-02 20:00"),
        ("2024-07-03 13:30", "2024-07-03 15:30"),
        ("2024-07-03 15:30", "2024-07-03 17:00"),  # an early close, then Independence Day
        ("2024-07-05 13:30", "2024-07-05 15:30"),
    ]


def test_a_lunch_break_ends_a_bar() -> None:
    assert due("2024-01-05", "2024-01-06", 2 * HOUR, "XHKG") == [
        ("2024-01-05 01:30", "2024-01-05 03:30"),
        ("2024-01-05 03:30", "2024-01-05 04:00"),
        ("2024-01-05 05:00", "2024-01-05 07:00"),
        ("2024-01-05 07:00", "2024-01-05 08:00"),
    ]


@pytest.mark.parametrize(
    ("calendar", "bars"),
    [
        # Friday's and Monday's: in the west midnight UTC comes first, in the east midnight on the exchange's clock.
        ("XNYS", [("2024-03-08 00:00", "2024-03-09 00:00"), ("2024-03-11 00:00", "2024-03-12 00:00")]),
        ("XHKG", [("2024-03-07 16:00", "2024-03-08 16:00"), ("2024-03-10 16:00", "2024-03-11 16:00")]),
        ("24/7", [(f"2024-03-{d:02d} 00:00", f"2024-03-{d + 1:02d} 00:00") for d in (8, 9, 10, 11)]),
    ],
)
def test_a_days_bar_holds_midnight_utc_and_midnight_at_the_exchange(calendar: str, bars: list[tuple[str, str]]) -> None:
    assert due("2024-03-08", "2024-03-12", DAY, calendar) == bars


def test_days_in_london_begin_an_hour_before_midnight_utc_in_summer() -> None:
    assert due("2024-03-28", "2024-04-03", DAY, "XLON") == [
        ("2024-03-28 00:00", "2024-03-29 00:00"),  # then Good Friday, Easter Monday, and summer time since Sunday
        ("2024-04-01 23:00", "2024-04-02 23:00"),
    ]


def test_a_range_of_local_midnights_holds_the_same_days() -> None:
    assert due("2024-03-10 16:00", "2024-03-12 16:00", DAY, "XHKG") == due("2024-03-11", "2024-03-13", DAY, "XHKG")
    assert due("2024-03-11 04:00", "2024-03-13 04:00", DAY, "XNYS") == due("2024-03-11", "2024-03-13", DAY, "XNYS")


def test_of_midnights_that_clocks_skip_or_repeat_the_first_instant_counts() -> None:
    days = np.array([at("2023-11-05"), at("2024-03-10"), at("2024-03-11")]) // DAY
    found = grid_module._midnights(days, ZoneInfo("America/Havana"))
    assert [text(time) for time in found] == ["2023-11-05 04:00", "2024-03-10 05:00", "2024-03-11 04:00"]


def test_weeks_begin_on_monday_at_midnight_utc() -> None:
    assert due("2024-01-03", "2024-01-17", WEEK, "XNYS") == [
        ("2024-01-08 00:00", "2024-01-15 00:00"),
        ("2024-01-15 00:00", "2024-01-22 00:00"),
    ]


@pytest.mark.parametrize(
    ("time", "interval_ns", "calendar", "moved"),
    [
        ("2024-01-05 14:31", MINUTE, "XNYS", "2024-01-05 14:31"),
        ("2024-01-05 14:31", 5 * MINUTE, "XNYS", "2024-01-05 14:35"),
        ("2024-01-05 20:40", HOUR, "XNYS", "2024-01-05 21:00"),  # the last bar ends at the close
        ("2024-01-05 22:10", HOUR, "XNYS", "2024-01-05 22:10"),  # no bar is there to be cut
        ("2024-01-06 12:00", DAY, "XNYS", "2024-01-06 12:00"),
        ("2024-01-05 12:00", DAY, "XNYS", "2024-01-06 00:00"),
        ("2024-01-05 02:00", DAY, "XNYS", "2024-01-05 00:00"),  # Friday's bar may be yet to come, at 05:00
        ("2024-01-05 00:00", DAY, "XHKG", "2024-01-04 16:00"),
        ("2024-01-05 00:01", DAY, "XHKG", "2024-01-05 16:00"),
        ("2024-01-06 00:00", DAY, "XHKG", "2024-01-06 00:00"),
    ],
)
def test_a_border_within_a_bar_moves_to_the_edge_that_leaves_as_many_before(
    time: str, interval_ns: int, calendar: str, moved: str
) -> None:
    assert aligned(time, interval_ns, calendar) == moved
    assert aligned(moved, interval_ns, calendar) == moved


@pytest.mark.parametrize("calendar", ["24/7", "XNYS", "XHKG", "XLON"])
@pytest.mark.parametrize("interval_ns", [MINUTE, 7 * MINUTE, HOUR, DAY])
def test_numbers_and_times_agree(calendar: str, interval_ns: int) -> None:
    start, end = at("2024-03-01"), at("2024-04-15")
    expected = make_grid(interval_ns, calendar).expected(start, end)
    numbers = np.arange(*expected.before(np.array([start, end])))
    starts, ends = expected.starts(numbers), expected.ends(numbers)
    assert (starts < ends).all()
    assert (ends[:-1] <= starts[1:]).all()
    assert (expected.before(starts) == numbers).all()
    assert (expected.before(ends) == numbers + 1).all()
    times = np.sort(np.random.default_rng(0).integers(start, end, 2_000))
    moved = expected.aligned(times)
    assert (np.diff(moved) >= 0).all()
    assert (expected.before(moved) == expected.before(times)).all()
    assert (expected.aligned(moved) == moved).all()


def test_the_interval_may_be_a_second_for_a_century() -> None:
    for calendar in ("24/7", "XNYS"):
        expected = make_grid(NANOS, calendar).expected(at("1930-01-01"), at("2024-01-01"))
        assert len(expected) > 500_000_000


def test_where_no_bar_is_due_nothing_is_before_and_nothing_moves() -> None:
    nothing = Expected.of_runs(MINUTE, *(np.zeros(0, np.int64),) * 3)
    times = np.array([at("2024-01-05"), at("2024-01-06")])
    assert len(nothing) == 0
    assert nothing.before(times).tolist() == [0, 0]
    assert nothing.aligned(times).tolist() == times.tolist()
    assert due("1901-01-01", "1902-01-01", DAY, "XTKS") == []  # before its calendar begins
