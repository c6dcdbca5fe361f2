"""Staleness as a table: what the calendar does not expect makes nothing stale."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streams.durations import duration_ns
from streams.provider.staleness import staleness_seconds


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def staleness(newest: str, now: str, interval: str | None, calendar: str) -> float:
    span = None if interval is None else duration_ns(interval)
    return staleness_seconds(ns(newest), ns(now), interval_ns=span, calendar=calendar)


@pytest.mark.parametrize(
    ("newest", "now", "interval", "seconds"),
    [
        ("2024-05-01T12:00", "2024-05-01T12:01", "1m", 0.0),  # the next one goes on
        ("2024-05-01T12:00", "2024-05-01T12:02", "1m", 0.0),  # it ends
        ("2024-05-01T12:00", "2024-05-01T12:02:30", "1m", 30.0),  # it is late
        ("2024-05-01T12:00", "2024-05-01T13:02", "1m", 3_600.0),
        ("2024-05-01T12:00", "2024-05-01T11:00", "1m", 0.0),  # ahead of us
        ("2024-05-01T00:00", "2024-05-03T00:00", "1d", 0.0),
        ("2024-05-01T00:00", "2024-05-03T00:00:05", "1d", 5.0),
    ],
)
def test_a_bar_is_late_when_the_next_one_has_ended(newest: str, now: str, interval: str, seconds: float) -> None:
    assert staleness(newest, now, interval, "24/7") == seconds


@pytest.mark.parametrize(
    ("newest", "now", "seconds"),
    [
        # 2024-05-03 was a Friday; New York closes at 20:00 and opens at 13:30 UTC
        ("2024-05-03T19:59", "2024-05-03T20:00", 0.0),
        ("2024-05-03T19:59", "2024-05-05T12:00", 0.0),  # a weekend
        ("2024-05-03T19:59", "2024-05-06T13:31", 0.0),  # the first of Monday has just ended
        ("2024-05-03T19:59", "2024-05-06T13:31:10", 10.0),
        ("2024-05-03T19:58", "2024-05-03T20:01", 60.0),  # the last of Friday is late
    ],
)
def test_bars_of_a_session_are_expected_in_sessions_only(newest: str, now: str, seconds: float) -> None:
    assert staleness(newest, now, "1m", "XNYS") == seconds


@pytest.mark.parametrize("stamp", ["2024-05-03T00:00", "2024-05-03T04:00"])  # of UTC, and of New York
@pytest.mark.parametrize(
    ("now", "seconds"),
    [("2024-05-05T12:00", 0.0), ("2024-05-06T23:59", 0.0), ("2024-05-07T00:01", 60.0), ("2024-05-08T00:00", 86_400.0)],
)
def test_a_daily_bar_is_late_once_the_next_session_is_over_wherever_midnight_is(
    stamp: str, now: str, seconds: float
) -> None:
    assert staleness(stamp, now, "1d", "XNYS") == seconds


@pytest.mark.parametrize(
    ("newest", "now", "calendar", "seconds"),
    [
        ("2024-05-03T15:00", "2024-05-03T15:00:02", "24/7", 2.0),
        ("2024-05-03T15:00", "2024-05-05T15:00", "24/7", 172_800.0),
        ("2024-05-03T15:00", "2024-05-03T15:00:02", "XNYS", 2.0),
        ("2024-05-03T19:59:30", "2024-05-05T12:00", "XNYS", 30.0),  # half a minute of trading went by
        ("2024-05-03T20:00", "2024-05-06T13:30", "XNYS", 0.0),
        ("2024-05-03T20:00", "2024-05-06T13:30:05", "XNYS", 5.0),
        ("2024-05-03T13:30", "2024-05-06T20:00", "XNYS", 2 * 23_400.0),
    ],
)
def test_ticks_grow_old_while_there_is_trading(newest: str, now: str, calendar: str, seconds: float) -> None:
    assert staleness(newest, now, None, calendar) == seconds
