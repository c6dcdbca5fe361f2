"""The error of a broken promise says in plain words what took how long, what is missing, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from streams import SeamlessError, SeamlessSLAExceeded
from streams.sla_exceeded import MissingRange

NOON = 1_700_049_600 * 1_000_000_000
HOUR = 3_600 * 1_000_000_000


@pytest.mark.parametrize(
    ("phase", "budget", "elapsed", "more", "says"),
    [
        ("storage_wait", 5.0, 5.01, {}, "reading from the archive took 5.01 s, and max_wait_storage is 5 s"),
        ("backfill_wait", 0.5, 0.5, {}, "waiting for what was missing took 0.5 s, and max_wait_backfill is 0.5 s"),
        ("live_wait", 10.0, 12.5, {}, "waiting for live rows took 12.5 s, and max_wait_live is 10 s"),
        ("total", 90.0, 90.2, {}, "it took 90.2 s, and total_deadline is 90 s"),
        (
            "total",
            90.0,
            90.2,
            {"during": "backfill_wait"},
            "it took 90.2 s, last in backfill_wait, and total_deadline is 90 s",
        ),
        ("staleness", 120.0, 7_200.0, {}, "the newest row is 7,200 s old, and max_staleness is 120 s"),
        ("coverage", 0.99, 0.8512, {}, "85.12% of what was asked for is there, and min_coverage is 99.00%"),
        ("storage_wait", 5.0, 0.0, {"reason": "It hangs"}, "storage_wait was given up after 0 s of 5 s. It hangs."),
    ],
)
def test_it_says_what_was_promised_and_what_it_was(
    phase: str, budget: float, elapsed: float, more: dict[str, Any], says: str
) -> None:
    error = SeamlessSLAExceeded(phase, budget, elapsed, dataset="bars", symbols=["AAPL"], **more)
    assert str(error).startswith(f"The promise for bars (AAPL) was not kept: {says}")
    assert str(error).endswith(error.remedy)
    assert (error.phase, error.budget, error.elapsed, error.dataset) == (phase, budget, elapsed, "bars")
    assert error.during == more.get("during", phase)


@pytest.mark.parametrize(
    ("phase", "remedy"),
    [
        ("storage_wait", "max_wait_storage"),
        ("backfill_wait", "seamless backfill list"),
        ("live_wait", "seamless status"),
        ("total", "total_deadline"),
        ("staleness", "max_staleness"),
        ("coverage", "seamless backfill request"),
    ],
)
def test_each_phase_has_a_remedy_of_its_own(phase: str, remedy: str) -> None:
    assert remedy in SeamlessSLAExceeded(phase, 1.0, 0.5, dataset="bars").remedy


def test_missing_ranges_are_told_with_symbol_and_times_and_many_are_counted() -> None:
    missing = [MissingRange(f"S{n}", NOON, NOON + n * HOUR) for n in range(1, 6)]
    error = SeamlessSLAExceeded("coverage", 1.0, 0.5, dataset="bars", missing=missing)
    assert error.missing == tuple(missing)
    assert "Missing: S1 2023-11-15T12:00:00Z to 2023-11-15T13:00:00Z; S2 " in str(error)
    assert "; and 2 more." in str(error)
    assert "S4" not in str(error)


def test_many_symbols_are_counted_and_none_are_left_out_of_the_attribute() -> None:
    symbols = [f"S{n}" for n in range(1_500)]
    error = SeamlessSLAExceeded("total", 1.0, 2.0, dataset="bars", symbols=symbols)
    assert "bars (S0, S1, S2, and 1,497 more)" in str(error)
    assert error.symbols == tuple(symbols)


def test_a_moment_keeps_its_nanoseconds_and_one_before_the_epoch_is_one() -> None:
    assert str(MissingRange("A", NOON + 1, NOON + 500_000_000)) == (
        "A 2023-11-15T12:00:00.000000001Z to 2023-11-15T12:00:00.5Z"
    )
    assert str(MissingRange("A", -1, 0)) == "A 1969-12-31T23:59:59.999999999Z to 1970-01-01T00:00:00Z"


def test_it_is_one_of_our_errors() -> None:
    assert issubclass(SeamlessSLAExceeded, SeamlessError)
