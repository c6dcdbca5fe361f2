"""Budgets as tables: what a phase is handed, whose limit is the nearer, and what follows where one is broken."""

from __future__ import annotations

from typing import Any

import pytest

from streams.provider.budget import Budget, Decision, PhaseClock, Proceed, Violated, judge_coverage, judge_staleness
from streams.sla_policy import Objective, OnViolation, SLAPolicy

ACTIONS: list[tuple[OnViolation, str]] = [("fail_fast", "raise"), ("partial_fill", "partial"), ("hold", "hold")]


def policy(**fields: Any) -> SLAPolicy:
    return SLAPolicy.model_validate(fields)


@pytest.mark.parametrize(
    ("limit", "total", "at", "reserve", "budget"),
    [
        # nothing is limited
        (None, None, 5.0, 0.0, Budget(None, "backfill_wait", None)),
        # its own limit alone
        (2.0, None, 5.0, 0.0, Budget(2.0, "backfill_wait", 2.0)),
        # the whole alone, less what went by
        (None, 9.0, 5.0, 0.0, Budget(4.0, "total", 9.0)),
        # the nearer of both
        (2.0, 9.0, 5.0, 0.0, Budget(2.0, "backfill_wait", 2.0)),
        (2.0, 6.0, 5.0, 0.0, Budget(1.0, "total", 6.0)),
        # at the same moment it is the phase's own
        (1.0, 6.0, 5.0, 0.0, Budget(1.0, "backfill_wait", 1.0)),
        # what is kept for later is not handed out
        (2.0, 9.0, 5.0, 3.0, Budget(1.0, "total", 9.0)),
        (2.0, 9.0, 5.0, 9.0, Budget(0.0, "total", 9.0)),
        # nothing is left
        (2.0, 4.0, 5.0, 0.0, Budget(0.0, "total", 4.0)),
        # asked for and not waited for
        (0.0, 9.0, 5.0, 0.0, Budget(0.0, "backfill_wait", 0.0)),
    ],
)
def test_a_phase_is_handed_its_own_limit_or_what_is_left_of_the_whole(
    limit: float | None, total: float | None, at: float, reserve: float, budget: Budget
) -> None:
    clock = PhaseClock(policy(max_wait_backfill=limit, total_deadline=total, retry_backoff=0.001), 100.0)
    assert clock.budget("backfill_wait", 100.0 + at, reserve) == budget


def test_a_phase_that_is_entered_again_gets_what_it_has_left() -> None:
    clock = PhaseClock(policy(max_wait_storage=2.0), 0.0)
    clock.begin("storage_wait", 1.0)
    assert clock.budget("storage_wait", 1.5).seconds == 1.5
    assert clock.end(1.5) == 0.5
    clock.begin("storage_wait", 9.0)
    assert clock.budget("storage_wait", 9.0).seconds == 1.5
    assert clock.budget("storage_wait", 9.5).seconds == 1.0
    assert clock.going_on(9.5) == 0.5
    clock.end(9.5)
    assert clock.timings(10.0) == {"storage_wait": 1.0, "total": 10.0}


def test_times_of_one_phase_are_not_taken_from_another() -> None:
    clock = PhaseClock(policy(max_wait_storage=2.0, max_wait_live=3.0), 0.0)
    clock.begin("storage_wait", 0.0)
    clock.end(2.0)
    assert clock.budget("live_wait", 2.0).seconds == 3.0


def test_phases_follow_one_another() -> None:
    clock = PhaseClock(policy(), 0.0)
    with pytest.raises(ValueError, match="no phase is going on"):
        clock.end(1.0)
    clock.begin("storage_wait", 1.0)
    with pytest.raises(ValueError, match="live_wait begins while storage_wait goes on"):
        clock.begin("live_wait", 2.0)


def test_a_phase_that_goes_on_is_in_the_timings() -> None:
    clock = PhaseClock(policy(), 0.0)
    clock.begin("live_wait", 1.0)
    assert clock.timings(3.0) == {"live_wait": 2.0, "total": 3.0}


@pytest.mark.parametrize(("on_violation", "action"), ACTIONS)
@pytest.mark.parametrize(
    ("spent", "found"),
    [
        (1.0, None),
        (2.0, None),  # to the limit is within it
        (2.5, ("storage_wait", 2.0, 2.5)),
        (6.5, ("storage_wait", 2.0, 6.5)),  # the phase's own comes first
    ],
)
def test_a_phase_is_judged_by_its_own_limit(
    on_violation: OnViolation, action: str, spent: float, found: tuple[Objective, float, float] | None
) -> None:
    clock = PhaseClock(policy(max_wait_storage=2, total_deadline=6, on_violation=on_violation), 0.0)
    clock.begin("storage_wait", 0.0)
    expected: Decision = Proceed() if found is None else Violated(*found, action, "storage_wait")  # type: ignore[arg-type]
    assert clock.judge("storage_wait", spent) == expected


def test_a_phase_within_its_own_limit_is_judged_by_that_of_the_whole() -> None:
    clock = PhaseClock(policy(max_wait_storage=2, total_deadline=6), 0.0)
    clock.begin("storage_wait", 5.0)
    assert clock.judge("storage_wait", 6.5) == Violated("total", 6.0, 6.5, "raise", "storage_wait")
    assert clock.judge_total(6.5) == Violated("total", 6.0, 6.5, "raise", "total")


def test_no_answer_is_the_fault_of_the_limit_that_was_nearer() -> None:
    clock = PhaseClock(policy(max_wait_storage=2, total_deadline=6), 0.0)
    clock.begin("storage_wait", 1.0)
    own = clock.budget("storage_wait", 1.0)
    assert clock.unanswered("storage_wait", own, 3.0) == Violated("storage_wait", 2.0, 2.0, "raise", "storage_wait")
    clock.end(3.0)
    clock.begin("live_wait", 5.0)
    whole = clock.budget("live_wait", 5.0)
    assert clock.unanswered("live_wait", whole, 6.0) == Violated("total", 6.0, 6.0, "raise", "live_wait")


def test_without_limits_nothing_is_ever_broken() -> None:
    clock = PhaseClock(policy(), 0.0)
    clock.begin("backfill_wait", 0.0)
    assert clock.judge("backfill_wait", 1e9) == Proceed()
    assert clock.left(1e9) is None


@pytest.mark.parametrize(("on_violation", "action"), ACTIONS)
@pytest.mark.parametrize(("age", "kept"), [(0.0, True), (60.0, True), (60.1, False)])
def test_staleness_is_judged_by_the_greatest_age(
    on_violation: OnViolation, action: str, age: float, kept: bool
) -> None:
    found = judge_staleness(policy(max_staleness=60, on_violation=on_violation), age)
    assert found == (Proceed() if kept else Violated("staleness", 60.0, age, action, "staleness"))  # type: ignore[arg-type]
    assert judge_staleness(policy(), 1e9) == Proceed()


@pytest.mark.parametrize(("on_violation", "action"), ACTIONS)
@pytest.mark.parametrize(("ratio", "kept"), [(1.0, True), (0.9, True), (0.899, False), (0.0, False)])
def test_coverage_is_judged_by_the_least_share(
    on_violation: OnViolation, action: str, ratio: float, kept: bool
) -> None:
    found = judge_coverage(policy(min_coverage=0.9, on_violation=on_violation), ratio)
    assert found == (Proceed() if kept else Violated("coverage", 0.9, ratio, action, "coverage"))  # type: ignore[arg-type]
    assert judge_coverage(policy(), 0.0) == Proceed()
