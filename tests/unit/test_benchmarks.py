"""What the benchmark decides: windows, medians of ratios, and whether a goal is met."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.goals import AT_LEAST, AT_MOST, BARS_PER_SECOND, at_least, at_most
from benchmarks.jobs import JOBS, PRODUCT
from benchmarks.run import Measurement
from benchmarks.summary import summarise
from benchmarks.throughput import Sizes, measured_window


def run(job: str, rate: float) -> Measurement:
    return Measurement(job, 1_000, 1_000 / rate, rate, 1.0, 100_000_000)


def test_every_demanded_ratio_is_that_of_a_job_that_is_measured() -> None:
    assert set(AT_LEAST) <= set(JOBS)
    assert PRODUCT not in AT_LEAST
    assert AT_LEAST == {
        "passthrough": 0.6,
        "kafka_streams_1": 0.9,
        "confluent_avro": 8,
        "quixstreams": 9,
        "bytewax": 5,
        "faust": 80,
    }
    assert (BARS_PER_SECOND, AT_MOST["p99_ms"], AT_MOST["peak_mb"]) == ({None: 5_000_000, 5_000: 3_000_000}, 130, 400)


@pytest.mark.parametrize(
    ("goal", "found", "least", "most"),
    [(0.6, 0.6, "≥ 0.6 ✓", "≤ 0.6 ✓"), (9.0, 8.9, "≥ 9 ✗", "≤ 9 ✓"), (130.0, 131.0, "≥ 130 ✓", "≤ 130 ✗")],
)
def test_a_goal_says_whether_it_is_met(goal: float, found: float, least: str, most: str) -> None:
    assert (at_least(goal, found), at_most(goal, found)) == (least, most)


def test_where_nothing_is_wanted_or_nothing_was_measured_nothing_is_judged() -> None:
    assert (at_least(None, 1.0), at_most(None, 1.0)) == ("", "")
    assert at_least(5_000_000, None) == "≥ 5,000,000"


def test_a_ratio_is_the_median_of_the_rounds_own_and_not_the_ratio_of_medians() -> None:
    rounds = [
        {"passthrough": run("passthrough", 100), "seamless": run("seamless", 50)},
        {"passthrough": run("passthrough", 400), "seamless": run("seamless", 280)},
        {"passthrough": run("passthrough", 200), "seamless": run("seamless", 180)},
    ]
    reference, product = summarise(rounds, "passthrough", "seamless")
    assert (reference.against_reference, reference.product_against) == (1.0, 0.7)
    assert product.against_reference == 0.7
    assert product.records_per_second == 180


def test_warm_up_and_tail_do_not_count() -> None:
    appended = np.repeat(np.array([0, 1_000, 2_000, 3_000, 4_000], np.int64), 10)
    window = measured_window(appended, Sizes(warm_up=20, measured=20, tail=10))
    assert (window.started_ms, window.ended_ms, window.records) == (1_000, 3_000, 20)
    assert window.records_per_second == 10
