"""Observations as metrics: what counts where, and labels that stay few whatever consumers call themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streams.metrics import Metrics
from streams.provider.calls import Timeout
from streams.provider.observations import Observation
from streams.provider.sla_metrics import SLAMetrics
from tests.unit.test_observation_queue import TOLD

USE = 'consumer="alpha",dataset="bars"'


def rendered(*told: Observation, **arguments: Any) -> str:
    metrics = Metrics("paper")
    sla = SLAMetrics(metrics, **arguments)
    for each in told:
        sla.observed(each)
    return metrics.render().decode()


@pytest.mark.parametrize("phase", ["storage_wait", "backfill_wait", "live_wait"])
def test_a_phase_is_timed_among_all_and_by_itself(phase: Any) -> None:
    text = rendered(replace(TOLD, phase=phase))
    labels = f'{USE},interval="1d",phase="{phase}",world_id="paper"'
    assert f"seamless_sla_deadline_seconds_sum{{{labels}}} 0.5" in text
    assert f'seamless_{phase}_seconds_sum{{{USE},world_id="paper"}} 0.5' in text


def test_the_whole_is_timed_and_ticks_have_an_interval_of_their_own() -> None:
    text = rendered(replace(TOLD, phase="total", interval=None))
    assert f'seamless_sla_deadline_seconds_count{{{USE},interval="tick",phase="total",world_id="paper"}} 1.0' in text
    assert "seamless_partial_fill_total{" not in text


def test_a_fetch_that_gave_what_there_was_is_counted_once_whatever_its_phases_were() -> None:
    text = rendered(
        replace(TOLD, outcome="partial"),
        replace(TOLD, phase="backfill_wait", outcome="partial"),
        replace(TOLD, phase="total", outcome="partial"),
    )
    assert f'seamless_partial_fill_total{{{USE},world_id="paper"}} 1.0' in text


def test_staleness_and_coverage_are_what_they_were_last() -> None:
    text = rendered(
        replace(TOLD, phase="staleness", elapsed_seconds=9.0),
        replace(TOLD, phase="staleness", elapsed_seconds=3.0),
        replace(TOLD, phase="coverage", coverage=0.75),
    )
    assert f'seamless_live_staleness_seconds{{{USE},world_id="paper"}} 3.0' in text
    assert f'seamless_coverage_ratio{{{USE},world_id="paper"}} 0.75' in text
    assert 'phase="staleness"' not in text


@pytest.mark.parametrize("outcome", ["violated", "partial", "hold"])
def test_violations_are_counted_by_phase_and_outcome(outcome: Any) -> None:
    text = rendered(replace(TOLD, outcome=outcome))
    labels = f'{USE},outcome="{outcome}",phase="storage_wait",world_id="paper"'
    assert f"seamless_sla_violations_total{{{labels}}} 1.0" in text


@pytest.mark.parametrize("told", [replace(TOLD, synthetic=True), replace(TOLD, final=False, outcome="hold")])
def test_what_is_made_up_or_goes_on_is_not_counted(told: Observation) -> None:
    assert 'dataset="bars"' not in rendered(told)


def test_what_failed_is_timed_and_no_violation() -> None:
    text = rendered(replace(TOLD, outcome="failed"))
    assert "seamless_sla_violations_total{" not in text
    assert "seamless_storage_wait_seconds_count{" in text


def test_consumers_beyond_the_most_there_may_be_share_a_label() -> None:
    text = rendered(*(replace(TOLD, consumer=f"c{n}", phase="total") for n in range(5)), most_consumers=3)
    assert 'consumer="c2"' in text
    assert 'consumer="c3"' not in text
    assert 'seamless_sla_deadline_seconds_count{consumer="others",' in text
    assert 'phase="total",world_id="paper"} 2.0' in text


@pytest.mark.parametrize(("refused", "reason"), [(False, "timeout"), (True, "refused")])
def test_calls_without_an_answer_are_counted_by_target_and_reason_but_not_by_place(refused: bool, reason: str) -> None:
    metrics = Metrics("paper")
    SLAMetrics(metrics).timed_out(Timeout("storage", "s3://secret/place", 0.5, refused, 1))
    text = metrics.render().decode()
    assert f'seamless_calls_unanswered_total{{reason="{reason}",target="storage",world_id="paper"}} 1.0' in text
    assert "secret" not in text
