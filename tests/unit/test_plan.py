"""The planner by example: what becomes a shard, what does not, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from coordinator import plan as planner
from coordinator.cuts import dealt
from coordinator.plan import BackfillPlan, plan
from coordinator.protocol import BackfillRejected
from coordinator.ranges import Range
from coordinator.shards import job_id, shard_id
from schemas.errors import ContractError
from schemas.grid import DAY, NANOS, WEEK

MINUTE, HOUR = 60 * NANOS, 3600 * NANOS


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANOS


NOW = at("2024-06-01")


def between(start: str, end: str) -> Range:
    return Range(at(start), at(end))


def planned(
    range_: Range,
    *,
    symbols: Sequence[str] = ("A",),
    coverage: Mapping[str, Sequence[Range]] | None = None,
    interval_ns: int | None = MINUTE,
    target_rows: int = 1_000_000,
    now_ns: int = NOW,
    partitions: int = 4,
    calendar: str = "XNYS",
    as_of: int | None = None,
    **rest: Any,
) -> BackfillPlan:
    return plan(
        "bars",
        symbols,
        range_,
        coverage or {},
        "files:bars",
        as_of,
        target_rows,
        interval_ns=interval_ns,
        calendar=calendar,
        contract_version=3,
        partitions=partitions,
        now_ns=now_ns,
        **rest,
    )


def spans(made: BackfillPlan) -> list[tuple[str, str, tuple[str, ...], int]]:
    return [
        (*(datetime.fromtimestamp(t / NANOS, UTC).strftime("%m-%d %H:%M") for t in (s.start, s.end)), s.symbols,
         s.estimated_rows)
        for s in made.shards
    ]  # fmt: skip


def rejected(field: str, words: str, range_: Range, **rest: Any) -> None:
    with pytest.raises(BackfillRejected, match=words) as caught:
        planned(range_, **rest)
    assert caught.value.field == field


def test_a_small_request_is_one_shard_with_all_that_it_says() -> None:
    made = planned(between("2024-01-02", "2024-01-04"), symbols=["B", "A"], urgent=True)
    [shard] = made.shards
    start, end = at("2024-01-02"), at("2024-01-04")
    assert made.job == job_id("bars", ("A", "B"), start, end, "files:bars", None, 3)
    assert shard.id == shard_id("bars", ("A", "B"), start, end, "files:bars", None, 3)
    assert (shard.job, shard.dataset, shard.source, shard.contract_version) == (made.job, "bars", "files:bars", 3)
    assert (shard.symbols, shard.start, shard.end) == (("A", "B"), start, end)
    assert (shard.urgent, shard.epoch, shard.job_epoch, shard.cursor) == (True, 1, 1, None)
    assert shard.estimated_rows == made.estimated_rows == 2 * 2 * 390
    assert shard.partition in range(4)
    assert made.missing == {"A": (Range(start, end),), "B": (Range(start, end),)}
    assert made.reason is None


def test_the_newest_is_stamped_with_the_moment_of_the_request_but_not_named_by_it() -> None:
    range_ = between("2024-01-02", "2024-01-04")
    newest, later = planned(range_), planned(range_, now_ns=NOW + HOUR)
    assert newest.shards[0].as_of == NOW // 1_000_000
    assert newest.shards[0].id == later.shards[0].id
    assert newest.job == later.job
    then = planned(range_, as_of=1_710_000_000_000)
    assert then.shards[0].as_of == 1_710_000_000_000
    assert then.shards[0].id != newest.shards[0].id
    assert then.job != newest.job


def test_a_long_range_is_cut_at_midnights_into_pieces_of_about_the_target() -> None:
    made = planned(between("2024-01-02", "2024-02-01"), target_rows=2_100)  # 21 sessions
    assert spans(made) == [
        ("01-02 00:00", "01-09 00:00", ("A",), 5 * 390),
        ("01-09 00:00", "01-17 00:00", ("A",), 5 * 390),
        ("01-17 00:00", "01-25 00:00", ("A",), 6 * 390),
        ("01-25 00:00", "02-01 00:00", ("A",), 5 * 390),
    ]


def test_pieces_of_less_than_a_day_are_cut_between_bars() -> None:
    made = planned(between("2024-01-02", "2024-01-03"), target_rows=100, interval_ns=5 * MINUTE)
    assert spans(made) == [("01-02 00:00", "01-03 00:00", ("A",), 78)]
    made = planned(between("2024-01-02", "2024-01-03"), target_rows=30, interval_ns=5 * MINUTE)
    assert spans(made) == [
        ("01-02 00:00", "01-02 16:40", ("A",), 26),
        ("01-02 16:40", "01-02 18:50", ("A",), 26),
        ("01-02 18:50", "01-03 00:00", ("A",), 26),
    ]


def test_symbols_that_miss_the_same_share_a_shard_up_to_the_target() -> None:
    symbols = [f"S{i}" for i in range(7)]
    made = planned(between("2024-01-02", "2024-01-03"), symbols=symbols, target_rows=1_000)
    assert [(s.symbols, s.estimated_rows) for s in made.shards] == [
        (("S0",), 390),
        (("S1", "S2"), 780),
        (("S3", "S4"), 780),
        (("S5", "S6"), 780),
    ]


def test_symbols_that_miss_different_ranges_do_not_share() -> None:
    covered = {"A": [between("2024-01-03", "2024-01-05")], "B": [between("2024-01-04", "2024-01-05")]}
    made = planned(between("2024-01-02", "2024-01-05"), symbols=["A", "B", "C"], coverage=covered)
    assert spans(made) == [
        ("01-02 00:00", "01-03 00:00", ("A",), 390),
        ("01-02 00:00", "01-04 00:00", ("B",), 780),
        ("01-02 00:00", "01-05 00:00", ("C",), 1_170),
    ]


def test_symbols_share_the_range_that_all_of_them_miss_whatever_else_they_miss() -> None:
    middle = between("2024-01-03", "2024-01-04")
    covered = {
        "A": [middle, between("2024-01-04", "2024-01-05")],
        "B": [middle],
        "C": [middle, Range(at("2024-01-04"), NOW)],
    }
    made = planned(between("2024-01-02", "2024-01-05"), symbols=["A", "B", "C"], coverage=covered)
    assert spans(made) == [
        ("01-02 00:00", "01-03 00:00", ("A", "B", "C"), 3 * 390),
        ("01-04 00:00", "01-05 00:00", ("B",), 390),
    ]


def test_shards_come_by_time() -> None:
    covered = {"A": [between("2024-01-02", "2024-01-04")], "B": [between("2024-01-03", "2024-01-05")]}
    made = planned(between("2024-01-02", "2024-01-05"), symbols=["A", "B"], coverage=covered)
    assert [s.symbols for s in made.shards] == [("B",), ("A",)]


def test_what_is_covered_within_one_bar_cuts_nothing() -> None:
    covered = {"A": [Range(at("2024-01-03 15:00") + 10 * NANOS, at("2024-01-03 15:00") + 40 * NANOS)]}
    made = planned(between("2024-01-03", "2024-01-04"), coverage=covered)
    assert spans(made) == [("01-03 00:00", "01-04 00:00", ("A",), 390)]


def test_what_is_covered_is_cut_out_and_a_weekend_left_over_needs_no_shard() -> None:
    covered = {"A": [between("2024-01-08", "2024-01-10"), between("2024-01-04", "2024-01-06")], "Z": [Range(0, NOW)]}
    made = planned(between("2024-01-03", "2024-01-11"), coverage=covered)
    assert spans(made) == [("01-03 00:00", "01-04 00:00", ("A",), 390), ("01-10 00:00", "01-11 00:00", ("A",), 390)]
    assert made.missing == {"A": (between("2024-01-03", "2024-01-04"), between("2024-01-10", "2024-01-11"))}


def test_a_border_inside_a_bar_moves_to_its_end_so_that_equal_bars_are_equal_shards() -> None:
    rough = planned(Range(at("2024-01-03 15:00") + 1, at("2024-01-03 15:10") + 1))
    assert spans(rough) == [("01-03 15:01", "01-03 15:11", ("A",), 10)]
    assert rough.shards[0].id == planned(between("2024-01-03 15:01", "2024-01-03 15:11")).shards[0].id


def test_borders_outside_sessions_stay_so_that_early_and_late_trading_is_fetched() -> None:
    made = planned(between("2024-01-03 09:07", "2024-01-03 23:13"))
    assert spans(made) == [("01-03 09:07", "01-03 23:13", ("A",), 390)]


@pytest.mark.parametrize(
    "range_", [between("2024-03-11", "2024-03-13"), between("2024-03-10 16:00", "2024-03-12 16:00")]
)
def test_both_midnights_of_hong_kongs_monday_are_in_its_shard(range_: Range) -> None:
    made = planned(range_, interval_ns=DAY, calendar="XHKG")
    assert spans(made) == [("03-10 16:00", "03-12 16:00", ("A",), 2)]
    made = planned(range_, interval_ns=DAY, calendar="XHKG", target_rows=1)
    assert spans(made) == [("03-10 16:00", "03-11 16:00", ("A",), 1), ("03-11 16:00", "03-12 16:00", ("A",), 1)]


@pytest.mark.parametrize(
    "range_", [between("2024-03-11", "2024-03-13"), between("2024-03-11 04:00", "2024-03-13 04:00")]
)
def test_both_midnights_of_new_yorks_monday_are_in_its_shard(range_: Range) -> None:
    made = planned(range_, interval_ns=DAY, target_rows=1)
    assert spans(made) == [("03-11 00:00", "03-12 00:00", ("A",), 1), ("03-12 00:00", "03-13 00:00", ("A",), 1)]


def test_weeks_are_cut_on_mondays() -> None:
    made = planned(between("2024-01-01", "2024-01-22"), interval_ns=WEEK, target_rows=1)
    assert [(s, e) for s, e, *_ in spans(made)] == [
        ("01-01 00:00", "01-08 00:00"),
        ("01-08 00:00", "01-15 00:00"),
        ("01-15 00:00", "01-22 00:00"),
    ]


def test_a_bar_that_has_not_ended_is_no_history_yet() -> None:
    now = at("2024-01-03 15:10") + 30 * NANOS
    made = planned(Range(at("2024-01-03 15:00"), now), now_ns=now)
    assert spans(made) == [("01-03 15:00", "01-03 15:10", ("A",), 10)]
    saturday = at("2024-01-06 12:00")
    assert planned(Range(at("2024-01-05"), saturday), now_ns=saturday).shards[0].end == saturday


def test_ticks_are_fetched_at_every_instant_and_weighed_by_trading_time() -> None:
    made = planned(Range(at("2024-01-03") + 7, at("2024-01-05") + 7), interval_ns=None, target_rows=23_400)
    assert [s.start for s in made.shards] == [at("2024-01-03") + 7, at("2024-01-04")]
    assert [s.end for s in made.shards] == [at("2024-01-04"), at("2024-01-05") + 7]
    assert [s.estimated_rows for s in made.shards] == [23_400, 23_400]
    weekend = planned(between("2024-01-06", "2024-01-08"), interval_ns=None)
    assert spans(weekend) == [("01-06 00:00", "01-08 00:00", ("A",), 1)]


def test_ticks_are_estimated_by_who_knows() -> None:
    asked = []

    def estimate(symbols: Sequence[str], start: int, end: int) -> int:
        asked.append((symbols, start, end))
        return 4_000_000

    range_ = between("2024-01-02", "2024-01-06")
    made = planned(range_, symbols=["B", "A"], interval_ns=None, target_rows=500_000, estimate=estimate)
    assert asked == [(["A", "B"], range_.start, range_.end)]
    assert [(s.symbols, s.estimated_rows) for s in made.shards] == [(("A",), 500_000), (("B",), 500_000)] * 4
    nothing = planned(range_, interval_ns=None, estimate=lambda *_: 0)
    assert [s.estimated_rows for s in nothing.shards] == [1]  # an estimate does not decide what there is


def test_the_order_of_symbols_and_coverage_does_not_matter_and_doubles_are_merged() -> None:
    symbols = [f"S{i}" for i in range(20)]
    covered = {s: [Range(NOW - (i % 5 + k + 2) * 7 * DAY, NOW - (k + 2) * 7 * DAY + HOUR) for k in range(3)]
               for i, s in enumerate(symbols)}  # fmt: skip
    range_ = between("2024-01-02", "2024-05-01")
    first = planned(range_, symbols=symbols, coverage=covered, target_rows=5_000)
    random.Random(1).shuffle(symbols)
    shuffled = {s: covered[s][::-1] for s in symbols}
    assert planned(range_, symbols=[*symbols, "S3", "S3"], coverage=shuffled, target_rows=5_000) == first


def test_an_overlapping_request_plans_only_the_rest_and_the_same_one_nothing() -> None:
    first = planned(between("2024-01-02", "2024-03-01"), target_rows=5_000)
    have = {"A": [Range(s.start, s.end) for s in first.shards]}
    rest = planned(between("2024-02-01", "2024-04-01"), coverage=have)
    assert [(s, e) for s, e, *_ in spans(rest)] == [("03-01 00:00", "04-01 00:00")]
    again = planned(between("2024-01-02", "2024-03-01"), coverage=have)
    assert (again.shards, again.missing, again.estimated_rows) == ((), {}, 0)
    assert again.reason == "all of it is covered"
    assert again.job == first.job


@pytest.mark.parametrize(
    ("range_", "interval_ns", "calendar", "now_ns", "reason"),
    [
        (between("2024-01-06", "2024-01-08"), MINUTE, "XNYS", NOW, "no trading session lies in the range"),
        (between("2024-01-06", "2024-01-08"), DAY, "XHKG", NOW, "no trading session lies in the range"),
        (between("2024-01-05 15:01", "2024-01-05 15:09"), HOUR, "XNYS", NOW, "shorter than the dataset's interval"),
        (between("2024-01-06 15:01", "2024-01-06 15:09"), HOUR, "24/7", NOW, "shorter than the dataset's interval"),
        (
            between("2024-01-05 15:00", "2024-01-05 15:01"), HOUR, "24/7", at("2024-01-05 15:02"),
            "no bar of the range has ended yet",
        ),
    ],
)  # fmt: skip
def test_an_empty_plan_says_why(range_: Range, interval_ns: int, calendar: str, now_ns: int, reason: str) -> None:
    made = planned(range_, interval_ns=interval_ns, calendar=calendar, now_ns=now_ns)
    assert made.shards == ()
    assert made.reason is not None
    assert reason in made.reason


def test_ranges_that_make_no_sense_are_refused_with_a_remedy() -> None:
    rejected("end", "reversed: it ends at 2024-01-02T00.*before its start at 2024-01-03T00.*exchange",
             between("2024-01-03", "2024-01-02"))  # fmt: skip
    rejected("end", "empty.*give a later end", between("2024-01-03", "2024-01-03"))
    rejected("end", r"2024-06-01T00:00:01\+00:00, which is in the future.*history up to 2024-06-01T00:00:00",
             Range(at("2024-05-01"), NOW + NANOS))  # fmt: skip
    rejected("end", "ends at 1000000000000000000000000 ns since 1970, .* future", Range(NOW - 1, 10**24))
    rejected("start", "before 1900", Range(-(10**20), NOW))
    planned(Range(at("2024-05-01"), NOW))


def test_symbols_that_make_no_sense_are_refused_with_a_remedy() -> None:
    range_ = between("2024-01-03", "2024-01-04")
    rejected("symbols", "name at least one", range_, symbols=[])
    rejected("symbols", "blank", range_, symbols=["A", " "])
    rejected("symbols", "unknown: B, C; leave them out", range_, symbols=["A", "C", "B"], known={"A"})
    rejected("symbols", "unknown: S0, .*, S4 and 4 more", range_, symbols=[f"S{i}" for i in range(9)], known={"A"})
    assert planned(range_, symbols=["A"], known=["A", "B"]).shards


def test_targets_that_make_no_sense_are_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    range_ = between("2024-01-03", "2024-01-04")
    rejected("target_rows", "at least 1", range_, target_rows=0)
    years = between("2010-01-01", "2024-01-01")
    rejected("target_rows", r"1,3\d\d,\d\d\d shards of about 1 rows, and 30,000 is the most: raise",
             years, target_rows=1)  # fmt: skip
    monkeypatch.setattr(planner, "MAX_SHARDS", 390)
    assert len(planned(range_, target_rows=1).shards) == 390
    monkeypatch.setattr(planner, "MAX_SHARDS", 389)
    rejected("target_rows", "390 shards", range_, target_rows=1)


def test_a_calendar_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ContractError, match="'NASDAQ-ish' is unknown"):
        planned(between("2024-01-03", "2024-01-04"), calendar="NASDAQ-ish")


def test_the_largest_pieces_are_dealt_first_each_to_where_the_least_is() -> None:
    assert dealt([1, 9, 5, 5], 2, 0) == [0, 0, 1, 1]
    assert dealt([3, 3, 3, 3, 3], 3, 2) == [2, 0, 1, 2, 0]
    assert dealt([], 3, 0) == []


def test_jobs_of_one_shard_do_not_all_fall_on_one_partition() -> None:
    range_ = between("2024-01-03", "2024-01-04")
    used = {planned(range_, symbols=[f"S{i}"], partitions=8).shards[0].partition for i in range(100)}
    assert used == set(range(8))


def test_small_targets_and_large_ones_give_about_as_many_shards_as_they_should() -> None:
    symbols = [f"S{i:03d}" for i in range(50)]
    range_ = between("2024-01-02", "2024-02-01")
    for target in (100, 1_000, 5_000, 8_190, 8_189, 20_000, 1_000_000):
        made = planned(range_, symbols=symbols, target_rows=target)
        rows = [s.estimated_rows for s in made.shards]
        assert sum(rows) == made.estimated_rows == 50 * 21 * 390
        assert max(rows) <= 1.25 * target + 1
        assert len(rows) <= 2 * made.estimated_rows / target + 1
