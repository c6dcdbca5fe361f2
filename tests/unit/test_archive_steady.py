"""The guard for transactional topics: marks are believed in a steady flow, and nothing is where a delivery begins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.archive.steady import SteadyGuard
from streams.positions import Verdict


def at(*offsets: int) -> npt.NDArray[np.int64]:
    return np.array(offsets, np.int64)


def flowing() -> SteadyGuard:
    guard = SteadyGuard()
    guard.expect(0, 5)
    assert guard.let_through(0, at(5, 6)) == Verdict(0, 2)
    return guard


def test_the_first_gap_after_a_beginning_is_confirmed_by_a_second_delivery() -> None:
    guard = SteadyGuard()
    guard.expect(0, 5)
    assert guard.let_through(0, at(7, 8)) == Verdict(0, 0, seek_to=5)
    assert guard.let_through(0, at(7, 8)) == Verdict(0, 2)
    assert guard.next(0) == 9


def test_a_record_that_the_second_delivery_brings_is_not_lost() -> None:
    guard = SteadyGuard()
    guard.expect(0, 5)
    assert guard.let_through(0, at(7, 8)).seek_to == 5
    assert guard.let_through(0, at(5, 6, 7, 8)) == Verdict(0, 4)


def test_gaps_in_a_steady_flow_are_believed() -> None:
    guard = flowing()
    assert guard.let_through(0, at(8, 9, 11)) == Verdict(0, 3)
    assert guard.next(0) == 12
    assert guard.end_reached(0, 13) is None
    assert guard.next(0) == 13


def test_a_disturbance_ends_the_trust() -> None:
    guard = flowing()
    guard.disturbed()
    assert guard.let_through(0, at(8, 9)) == Verdict(0, 0, seek_to=7)
    assert guard.let_through(0, at(8, 9)) == Verdict(0, 2)
    assert guard.let_through(0, at(20)) == Verdict(0, 1)


def test_what_goes_back_is_stale_also_in_a_steady_flow_and_ends_it_when_it_breaks_off() -> None:
    guard = flowing()
    assert guard.let_through(0, at(5, 6, 7)) == Verdict(2, 3)
    assert guard.let_through(0, at(8, 10, 9)) == Verdict(0, 1, seek_to=9)


def test_an_end_is_believed_after_it_was_told_twice_and_then_at_once() -> None:
    guard = SteadyGuard()
    guard.expect(0, 0)
    assert guard.end_reached(0, 3) == 0
    assert guard.end_reached(0, 3) is None
    assert guard.end_reached(0, 5) is None
    assert guard.next(0) == 5


def test_what_is_expected_anew_or_forgotten_is_not_trusted() -> None:
    guard = flowing()
    guard.expect(0, 30)
    assert guard.let_through(0, at(31)).seek_to == 30
    guard.forget(0)
    assert 0 not in guard


def test_what_comes_behind_a_confirmed_gap_need_not_be_confirmed_though_it_came_only_the_second_time() -> None:
    """A second delivery is seldom cut where the first was; else each would ask for another."""
    guard = SteadyGuard()
    guard.expect(0, 5)
    assert guard.let_through(0, at(7, 8, 10)) == Verdict(0, 0, seek_to=5)
    assert guard.let_through(0, at(7, 8, 10, 12, 15)) == Verdict(0, 5)


def test_a_delivery_that_begins_where_it_should_is_believed_from_there_on() -> None:
    guard = SteadyGuard()
    guard.expect(0, 5)
    assert guard.let_through(0, at(5, 6, 9, 10)) == Verdict(0, 4)
    assert guard.next(0) == 11


def test_stale_records_alone_prove_nothing() -> None:
    guard = SteadyGuard()
    guard.expect(0, 5)
    assert guard.let_through(0, at(3, 4)) == Verdict(2, 2)
    assert guard.let_through(0, at(6)).seek_to == 5
