"""Which missing bars are history, and which may still come."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.ranges import Range
from schemas.grid import DAY, make_grid
from streams.provider.edge import counted_until, edge_since, is_passed_over, split_at_edge

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
ALWAYS = make_grid(MINUTE, "24/7")
DAILY = make_grid(DAY, "XNYS")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def test_a_bar_counts_once_it_has_ended() -> None:
    start, end = at("2024-01-02T10:00"), at("2024-01-02T10:10")
    assert counted_until(ALWAYS, start, end, at("2024-01-02T12:00")) == end
    assert counted_until(ALWAYS, start, end, end) == end
    assert counted_until(ALWAYS, start, end, end - 1) == end - MINUTE
    assert counted_until(ALWAYS, start, end, at("2024-01-02T10:05:30")) == at("2024-01-02T10:05")
    assert counted_until(ALWAYS, start, end, at("2024-01-01")) == start


def test_a_session_that_goes_on_does_not_count_yet() -> None:
    start, end = at("2024-01-02"), at("2024-01-06")
    assert counted_until(DAILY, start, end, at("2024-02-01")) == end
    during = counted_until(DAILY, start, end, at("2024-01-05T15:00"))
    assert at("2024-01-04") < during <= at("2024-01-05T05:00")


def test_an_empty_range_is_left_as_it_is() -> None:
    assert counted_until(ALWAYS, 5 * MINUTE, 5 * MINUTE, 0) == 5 * MINUTE


def test_a_bar_may_come_for_two_intervals_but_not_for_a_day() -> None:
    assert edge_since(MINUTE, 100 * MINUTE) == 98 * MINUTE
    assert edge_since(DAY, 100 * MINUTE) == 85 * MINUTE


def test_a_hole_is_parted_between_bars() -> None:
    hole = Range(at("2024-01-02T10:00"), at("2024-01-02T10:10"))
    past, edge = split_at_edge(ALWAYS, [hole], at("2024-01-02T10:07:30"))
    assert (past, edge) == ([Range(hole.start, hole.end - 3 * MINUTE)], [Range(hole.end - 3 * MINUTE, hole.end)])
    assert split_at_edge(ALWAYS, [hole], hole.end) == ([hole], [])
    assert split_at_edge(ALWAYS, [hole], hole.start) == ([], [hole])
    assert split_at_edge(ALWAYS, [], hole.start) == ([], [])


def test_only_a_later_bar_shows_that_one_does_not_come() -> None:
    hole = Range(10 * MINUTE, 11 * MINUTE)
    assert not is_passed_over(hole, None)
    assert not is_passed_over(hole, 10 * MINUTE)
    assert is_passed_over(hole, 11 * MINUTE)
