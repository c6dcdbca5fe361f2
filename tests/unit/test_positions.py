"""The position guard: each offset once and in order, whatever delivery does."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.positions import PositionGuard, Verdict
from tests.support.examples import examples


def guard_at(offset: int) -> PositionGuard:
    guard = PositionGuard()
    guard.expect(0, offset)
    return guard


def judge(guard: PositionGuard, *offsets: int) -> Verdict:
    return guard.let_through(0, np.array(offsets, np.int64))


def test_records_that_follow_each_other_all_pass() -> None:
    guard = guard_at(5)
    assert judge(guard, 5, 6, 7) == Verdict(0, 3)
    assert guard.next(0) == 8


def test_stale_records_are_dropped_and_move_nothing() -> None:
    guard = guard_at(5)
    assert judge(guard, 3, 4) == Verdict(2, 2)
    assert guard.next(0) == 5
    assert judge(guard, 4, 5, 6) == Verdict(1, 3)
    assert guard.next(0) == 7


def test_a_gap_is_not_believed_at_first_but_asks_for_a_seek() -> None:
    guard = guard_at(5)
    assert judge(guard, 5, 8, 9) == Verdict(0, 1, seek_to=6)
    assert guard.next(0) == 6


def test_a_gap_delivered_again_the_same_way_is_believed_and_asks_for_nothing() -> None:
    guard = guard_at(5)
    judge(guard, 5, 8, 9)
    assert judge(guard, 8, 9) == Verdict(0, 2)
    assert guard.next(0) == 10


def test_a_record_that_was_lost_passes_after_the_seek() -> None:
    guard = guard_at(5)
    judge(guard, 5, 7)
    assert judge(guard, 6, 7) == Verdict(0, 2)


def test_a_gap_that_has_changed_is_not_believed() -> None:
    guard = guard_at(5)
    judge(guard, 8)
    assert judge(guard, 9) == Verdict(0, 0, seek_to=5)


def test_many_gaps_cost_one_seek_and_not_one_each() -> None:
    """A producer of small transactions leaves a control record behind every few rows."""
    guard = guard_at(0)
    rows = [n for n in range(300) if n % 3 != 2]
    assert judge(guard, *rows) == Verdict(0, 2, seek_to=2)
    assert judge(guard, *rows[2:]) == Verdict(0, len(rows) - 2)
    assert guard.next(0) == rows[-1] + 1


def test_a_gap_behind_one_that_is_believed_asks_again() -> None:
    guard = guard_at(0)
    judge(guard, 0, 2, 3)
    assert judge(guard, 2, 3, 5) == Verdict(0, 2, seek_to=4)


def test_offsets_that_go_back_are_never_believed_however_often_they_come() -> None:
    guard = guard_at(5)
    assert judge(guard, 5, 9, 7) == Verdict(0, 1, seek_to=6)
    assert judge(guard, 9, 7) == Verdict(0, 1, seek_to=10)
    assert judge(guard_at(5), 5, 5, 7) == Verdict(0, 1, seek_to=6)


def test_a_run_as_long_as_its_borders_are_apart_is_still_looked_into() -> None:
    assert judge(guard_at(7), 7, 100, 9) == Verdict(0, 1, seek_to=8)


def test_an_end_is_believed_only_when_told_again_after_a_seek() -> None:
    guard = guard_at(5)
    assert guard.end_reached(0, 6) == 5
    assert guard.next(0) == 5
    assert guard.end_reached(0, 6) is None
    assert guard.next(0) == 6


def test_an_end_behind_which_nothing_is_missing_is_no_news() -> None:
    guard = guard_at(5)
    assert guard.end_reached(0, 5) is None
    assert guard.end_reached(0, 3) is None
    assert guard.next(0) == 5


def test_a_record_lost_before_the_end_passes_after_the_seek() -> None:
    guard = guard_at(5)
    assert guard.end_reached(0, 6) == 5
    assert judge(guard, 5) == Verdict(0, 1)
    assert guard.next(0) == 6


def test_a_partition_that_is_expected_anew_has_forgotten_the_gaps_it_saw() -> None:
    guard = guard_at(5)
    judge(guard, 8)
    guard.expect(0, 5)
    assert judge(guard, 8) == Verdict(0, 0, seek_to=5)


def test_a_forgotten_partition_is_not_watched() -> None:
    guard = guard_at(5)
    guard.forget(0)
    assert 0 not in guard
    assert guard.partitions() == []


@examples(150)
@given(
    holes=st.sets(st.integers(0, 60)),
    seed=st.integers(0, 10**6),
    fault=st.floats(0, 0.5),
    batch=st.integers(1, 20),
)
def test_whatever_delivery_drops_doubles_or_reorders_each_record_passes_once_in_order(
    holes: set[int], seed: int, fault: float, batch: int
) -> None:
    """The log has holes (control records); delivery is at fault at random, but not twice in a row after a seek."""
    log = [n for n in range(61) if n not in holes]
    chance = random.Random(seed)
    guard = guard_at(0)
    passed: list[int] = []
    at, trusted = 0, False
    for _ in range(2_000):
        if at > 60:
            break
        delivered = [n for n in log if n >= at][:batch]
        at = delivered[-1] + 1 if delivered else 61
        if not trusted:
            delivered = faulty(delivered, chance, fault)
        trusted = False
        seek = None
        if delivered:
            verdict = judge(guard, *delivered)
            passed += delivered[verdict.start : verdict.stop]
            seek = verdict.seek_to
        if seek is None and at == 61:
            seek = guard.end_reached(0, 61)
        if seek is not None:
            at, trusted = seek, True
    assert passed == log
    assert guard.next(0) == 61


def faulty(offsets: list[int], chance: random.Random, fault: float) -> list[int]:
    found = [n for n in offsets if chance.random() > fault]
    found += [n for n in offsets if chance.random() < fault / 3]
    if chance.random() < fault:
        chance.shuffle(found)
    return found
