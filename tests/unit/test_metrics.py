"""Metrics: the table is what is exported, every series carries its world, and labels stay bounded."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from streams.metrics import ABORT_REASONS, METRICS, MetricDefinition, Metrics


def test_every_metric_of_the_table_is_exported_with_its_type_and_sentence() -> None:
    text = Metrics("live", version="1.2.3").render().decode()
    for row in METRICS:
        assert f"# HELP {row.name} {row.help}" in text
        assert f"# TYPE {row.name} {row.type}" in text


def test_nothing_is_exported_that_the_table_does_not_have() -> None:
    families = re.findall(r"^# TYPE (\S+)", Metrics("live").render().decode(), re.M)
    assert set(families) == {row.name for row in METRICS}


def test_a_counter_without_labels_of_its_own_is_there_before_its_first_event() -> None:
    assert 'backfill_fenced_total{world_id="live"} 0.0' in Metrics("live").render().decode()


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_names_follow_prometheus_habits(row: MetricDefinition) -> None:
    # Those of backfill bear the names that dashboards of backfill ask for, of whatever system; all else is ours.
    assert re.fullmatch(r"(seamless|backfill)_[a-z_]+", row.name)
    assert row.name.endswith("_total") == (row.type == "counter")
    assert row.help.endswith(".")
    assert "world_id" not in row.labels


def test_backfill_is_exported_under_the_names_and_labels_that_its_dashboards_ask_for() -> None:
    asked_for = {
        "backfill_completion_ratio": {"node_id", "interval"},
        "backfill_jobs_in_progress": set(),
        "backfill_last_timestamp": {"node_id", "interval"},
        "backfill_retry_total": None,
        "backfill_failure_total": None,
        "backfill_rows_total": None,
        "backfill_shard_seconds": None,
        "backfill_lease_moves_total": None,
        "backfill_fenced_total": None,
    }
    labels = {row.name: set(row.labels) for row in METRICS}
    assert asked_for.keys() <= labels.keys()
    assert {name: labels[name] for name, fixed in asked_for.items() if fixed is not None} == {
        name: fixed for name, fixed in asked_for.items() if fixed is not None
    }


def test_every_series_carries_its_world() -> None:
    metrics = Metrics("paper")
    metrics.rows_in.add(3, dataset="x")
    metrics.lag_records.set(5, topic="t", partition="0")
    metrics.commit_seconds.observe(0.02)
    lines = [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]
    assert all('world_id="paper"' in line for line in lines)
    assert 'seamless_rows_in_total{dataset="x",world_id="paper"} 3.0' in lines


def test_flagged_rows_are_counted_by_flag_and_warnings_once_more() -> None:
    metrics = Metrics("live")
    metrics.conformance("x", "1d", [("gap", 2, True), ("crossed", 1, False)])
    metrics.conformance("t", None, [("late", 1, True)])
    text = metrics.render().decode()
    assert 'flag_total{dataset="x",flag="gap",interval="1d",world_id="live"} 2.0' in text
    assert 'warning_total{dataset="x",flag="gap",interval="1d",world_id="live"} 2.0' in text
    assert 'warning_total{dataset="x",flag="crossed"' not in text
    assert 'flag_total{dataset="t",flag="late",interval="tick",world_id="live"} 1.0' in text


def test_reasons_of_aborts_are_bounded_and_present_from_the_start() -> None:
    metrics = Metrics("live")
    metrics.transaction_aborted("fenced")
    metrics.transaction_aborted("something with an id 4711")
    text = metrics.render().decode()
    assert "4711" not in text
    for reason in ABORT_REASONS:
        expected = 1.0 if reason in ("fenced", "error") else 0.0
        assert f'aborts_total{{reason="{reason}",world_id="live"}} {expected}' in text


def test_the_lag_of_a_partition_that_was_given_away_is_forgotten() -> None:
    metrics = Metrics("live")
    metrics.lag_records.set(5, topic="t", partition="0")
    metrics.lag_records.remove(topic="t", partition="0")
    metrics.lag_records.remove(topic="t", partition="0")
    assert 'topic="t"' not in metrics.render().decode()


@pytest.mark.parametrize("labels", [{}, {"dataset": "x", "symbol": "AAPL"}, {"symbol": "AAPL"}])
def test_labels_that_are_not_in_the_table_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="label"):
        Metrics("live").rows_in.add(1, **labels)


def test_two_processes_worth_of_metrics_do_not_share_counts() -> None:
    one, other = Metrics("live"), Metrics("live")
    one.rows_in.add(dataset="bars")
    assert "seamless_rows_in_total{" in one.render().decode()
    assert "seamless_rows_in_total{" not in other.render().decode()


def test_what_runs_is_told_by_its_version() -> None:
    assert f'seamless_build_info{{version="{version("seamless-data")}",world_id="live"}} 1.0' in (
        Metrics("live").render().decode()
    )
