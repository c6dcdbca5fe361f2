"""Every alert against series made for it: what it is for makes it fire, and what is like that but harmless does not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from operations.monitoring.bundle import written
from tests.support.monitoring import alerts, bundle

BARS = 'world_id="live",dataset="bars"'
READER = f'consumer="alpha",{BARS}'
FETCHES = f'seamless_sla_deadline_seconds_%s{{phase="total",interval="1m",{READER}%s}}'
VIOLATED = f'seamless_sla_violations_total{{phase="total",outcome="violated",{READER}}}'
RAW = 'seamless_lag_records{world_id="live",topic="live.raw.bars",partition="0",instance="%s"}'
QUEUE = 'seamless_lag_records{world_id="live",topic="live.backfill.shards",partition="0"}'
ROWS_IN, QUARANTINED = f"seamless_rows_in_total{{{BARS}}}", f"seamless_rows_quarantined_total{{{BARS}}}"
FLAGGED = f'seamless_conformance_flag_total{{flag="gap",interval="1m",{BARS}}}'
ACTIVE = f"seamless_schema_exceptions_active{{{BARS}}}"
ARCHIVE = 'seamless_archive_lag_records{world_id="live",dataset="bars",topic="live.normalized.bars",partition="%s"}'
REFUSED = 'seamless_schema_validation_failures_total{world_id="live",subject="s",mode="%s",reason="unknown_schema"}'
SHARES = 'backfill_completion_ratio{world_id="live",node_id="bars",interval="1m"}'

LIVE = {"world_id": "live"}
OF_BARS = {**LIVE, "dataset": "bars"}
BY_ALPHA = {**OF_BARS, "consumer": "alpha"}
NEW_OF_ALPHA = {**BY_ALPHA, "interval": "1m"}


@dataclass(frozen=True)
class Case:
    """Series by what their samples are each minute, and which alert is on after `minutes`, with which labels."""

    alert: str
    what: str
    series: Mapping[str, str]
    minutes: int
    labels: Mapping[str, str] | None = None


def fetches(fast: str, slow: str) -> dict[str, str]:
    """Return the histogram of fetches: those of up to a minute, and all, of which none is over two minutes."""
    return {
        FETCHES % ("bucket", ',le="60"'): fast,
        FETCHES % ("bucket", ',le="120"'): slow,
        FETCHES % ("bucket", ',le="+Inf"'): slow,
    }


def count(samples: str) -> dict[str, str]:
    return {FETCHES % ("count", ""): samples}


def commits(fast: str, every: str) -> dict[str, str]:
    name = 'seamless_commit_seconds_bucket{world_id="live",le="%s"}'
    return {name % "1": fast, name % "5": every, name % "+Inf": every}


CASES = (
    Case("sla-deadline-p99", "fetches that take two minutes", fetches("0x30", "0+10x30"), 20, NEW_OF_ALPHA),
    Case("sla-deadline-p99", "fetches that take less than a minute", fetches("0+10x30", "0+10x30"), 20),
    Case("sla-deadline-p99", "no fetches any more", fetches("7x30", "90x30"), 20),
    Case("sla-budget-burn-fast", "every fifth fetch", count("0+100x90") | {VIOLATED: "0+20x90"}, 70, BY_ALPHA),
    Case("sla-budget-burn-fast", "8 % for hours", count("0+100x400") | {VIOLATED: "0+8x400"}, 390, BY_ALPHA),
    Case("sla-budget-burn-fast", "3 % of the fetches", count("0+100x90") | {VIOLATED: "0+3x90"}, 70),
    Case("sla-budget-burn-fast", "what is over", count("0+100x100") | {VIOLATED: "0+20x60 1200x40"}, 95),
    Case(
        "sla-budget-burn-fast",
        "violations of another phase",
        count("0+100x90") | {VIOLATED.replace('total"', 'live_wait"', 1): "0+50x90"},
        70,
    ),
    Case("sla-budget-burn-slow", "2 % of the fetches", count("0+100x200") | {VIOLATED: "0+2x200"}, 180, BY_ALPHA),
    Case("sla-budget-burn-slow", "one in two hundred", count("0+200x200") | {VIOLATED: "0+1x200"}, 180),
    Case("sla-budget-burn-slow", "no violation at all", count("0+200x200"), 180),
    Case(
        "sla-staleness", "rows of an hour ago", {f"seamless_live_staleness_seconds{{{READER}}}": "3600x10"}, 8, BY_ALPHA
    ),
    Case("sla-staleness", "rows of ten minutes ago", {f"seamless_live_staleness_seconds{{{READER}}}": "600x10"}, 8),
    Case("sla-staleness", "old rows for a moment", {f"seamless_live_staleness_seconds{{{READER}}}": "3600x2 9x9"}, 8),
    Case("sla-coverage-low", "half of the rows", {f"seamless_coverage_ratio{{{READER}}}": "0.5x30"}, 20, BY_ALPHA),
    Case("sla-coverage-low", "all of the rows", {f"seamless_coverage_ratio{{{READER}}}": "1x30"}, 20),
    Case(
        "sla-provider-degraded",
        "one fetch after the other",
        {f'seamless_provider_degraded_total{{{BARS},what="archive"}}': "0+1x30"},
        20,
        {**OF_BARS, "what": "archive"},
    ),
    Case(
        "sla-provider-degraded",
        "the first of a provider's life",
        {f'seamless_provider_degraded_total{{{BARS},what="archive"}}': "_x10 1x20"},
        18,
        {**OF_BARS, "what": "archive"},
    ),
    Case(
        "sla-provider-degraded",
        "what was an hour ago",
        {f'seamless_provider_degraded_total{{{BARS},what="archive"}}': "5x90"},
        80,
    ),
    Case(
        "sla-observations-lost",
        "the first that are lost",
        {'seamless_sla_observations_dropped_total{world_id="live",reason="queue_full"}': "_x10 3x10"},
        12,
        {**LIVE, "reason": "queue_full"},
    ),
    Case(
        "sla-observations-lost",
        "none any more",
        {'seamless_sla_observations_dropped_total{world_id="live",reason="closed"}': "3x90"},
        80,
    ),
    Case(
        "sla-agent-lagging",
        "all partitions together",
        {f'seamless_sla_agent_lag_records{{world_id="live",partition="{p}"}}': "6000x20" for p in range(2)},
        15,
        LIVE,
    ),
    Case(
        "sla-agent-lagging",
        "some records",
        {'seamless_sla_agent_lag_records{world_id="live",partition="0"}': "6000x20"},
        15,
    ),
    Case("sla-agent-down", "the only agent", {'seamless_sla_open_windows{world_id="live"}': "3x10 stale"}, 20, LIVE),
    Case(
        "sla-agent-down",
        "one of two agents",
        {
            'seamless_sla_open_windows{world_id="live",instance="a"}': "3x10 stale",
            'seamless_sla_open_windows{world_id="live",instance="b"}': "3x30",
        },
        20,
    ),
    Case(
        "sla-agent-down", "a world that never had one", {'seamless_build_info{world_id="live",version="1"}': "1x30"}, 20
    ),
    Case(
        "sla-alerts-undelivered",
        "posts that nobody takes",
        {'seamless_alert_post_age_seconds{world_id="live",alertmanager="a"}': "0+60x20"},
        12,
        {**LIVE, "alertmanager": "a"},
    ),
    Case(
        "sla-alerts-undelivered",
        "a bridge that is gone",
        {'seamless_alert_post_age_seconds{world_id="live",alertmanager="a"}': "9x10 stale"},
        20,
        LIVE,
    ),
    Case(
        "sla-alerts-undelivered",
        "posts that are taken",
        {'seamless_alert_post_age_seconds{world_id="live",alertmanager="a"}': "59x20"},
        12,
    ),
    Case(
        "backfill-lease-stuck",
        "a lease that stays stuck",
        {'backfill_stalled_leases{world_id="live"}': "1x10"},
        8,
        LIVE,
    ),
    Case(
        "backfill-lease-stuck",
        "a lease that was stuck for a moment",
        {'backfill_stalled_leases{world_id="live"}': "1x2 0x10"},
        8,
    ),
    Case(
        "backfill-completion-stalled",
        "a job without new rows",
        {SHARES: "0.4x60", f"backfill_rows_total{{{BARS}}}": "100x60"},
        45,
        {**LIVE, "node_id": "bars"},
    ),
    Case("backfill-completion-stalled", "a job without any row", {SHARES: "0x60"}, 45, {**LIVE, "node_id": "bars"}),
    Case(
        "backfill-completion-stalled", "a long job", {SHARES: "0.4x60", f"backfill_rows_total{{{BARS}}}": "0+1x60"}, 45
    ),
    Case("backfill-completion-stalled", "no job", {SHARES: "1x60"}, 45),
    Case(
        "backfill-fenced-spike",
        "a worker that keeps losing",
        {'backfill_fenced_total{world_id="live"}': "_x10 9x5"},
        12,
        LIVE,
    ),
    Case("backfill-fenced-spike", "a worker that was lost", {'backfill_fenced_total{world_id="live"}': "0x10 2x5"}, 12),
    Case(
        "backfill-shards-failed", "the first that fails", {f"backfill_failure_total{{{BARS}}}": "_x10 1x5"}, 12, OF_BARS
    ),
    Case("backfill-shards-failed", "what failed hours ago", {f"backfill_failure_total{{{BARS}}}": "2x200"}, 190),
    Case(
        "backfill-source-errors", "a source that is down", {f"backfill_retry_total{{{BARS}}}": "0+30x30"}, 25, OF_BARS
    ),
    Case("backfill-source-errors", "an error here and there", {f"backfill_retry_total{{{BARS}}}": "0+3x30"}, 25),
    Case(
        "backfill-workers-down", "jobs and no worker", {'backfill_jobs_in_progress{world_id="live"}': "2x10"}, 8, LIVE
    ),
    Case(
        "backfill-workers-down",
        "jobs and a worker",
        {'backfill_jobs_in_progress{world_id="live"}': "2x10", QUEUE: "0x10"},
        8,
    ),
    Case("backfill-workers-down", "no jobs and no worker", {'backfill_jobs_in_progress{world_id="live"}': "0x10"}, 8),
    Case(
        "backfill-coordinator-down",
        "the only one",
        {'backfill_jobs_in_progress{world_id="live"}': "0x10 stale"},
        20,
        LIVE,
    ),
    Case(
        "backfill-coordinator-down", "one that has no job", {'backfill_jobs_in_progress{world_id="live"}': "0x30"}, 20
    ),
    Case(
        "conformance-flag-spike",
        "many after few",
        {ROWS_IN: "0+100x180", FLAGGED: "0+1x150 150+20x30"},
        170,
        OF_BARS,
    ),
    Case(
        "conformance-flag-spike",
        "history that a worker flags",
        {ROWS_IN: "0+100x180", FLAGGED.replace("{", '{job="seamless-worker",'): "0x150 0+200x30"},
        170,
    ),
    Case("conformance-flag-spike", "as many as ever", {ROWS_IN: "0+100x180", FLAGGED: "0+20x180"}, 170),
    Case("conformance-flag-spike", "a few after none", {ROWS_IN: "0+1000x180", FLAGGED: "0x150 0+5x30"}, 170),
    Case(
        "conformance-quarantine-growing",
        "every twentieth row",
        {ROWS_IN: "0+100x30", QUARANTINED: "0+5x30"},
        25,
        OF_BARS,
    ),
    Case("conformance-quarantine-growing", "one in a thousand", {ROWS_IN: "0+1000x30", QUARANTINED: "0+1x30"}, 25),
    Case(
        "conformance-quarantine-growing",
        "what was quarantined before",
        {ROWS_IN: "0+100x60", QUARANTINED: "900x60"},
        50,
    ),
    Case(
        "conformance-dataset-stopped",
        "one that is stopped",
        {f"seamless_dataset_stopped{{{BARS}}}": "1x10"},
        5,
        OF_BARS,
    ),
    Case("conformance-dataset-stopped", "one that works", {f"seamless_dataset_stopped{{{BARS}}}": "0x10"}, 5),
    Case(
        "conformance-lag-growing", "ever more records", {RAW % "a": "0+2000x40"}, 35, {**LIVE, "topic": "live.raw.bars"}
    ),
    Case("conformance-lag-growing", "many that become fewer", {RAW % "a": "90000-1000x40"}, 35),
    Case("conformance-lag-growing", "few", {RAW % "a": "0+10x40"}, 35),
    Case("conformance-lag-growing", "a queue of shards", {QUEUE: "0+2000x40"}, 35),
    Case("conformance-commit-slow", "commits of five seconds", commits("0x40", "0+10x40"), 30, LIVE),
    Case("conformance-commit-slow", "quick commits", commits("0+10x40", "0+10x40"), 30),
    Case("conformance-normalizer-down", "the only one", {RAW % "a": "0x10 stale"}, 20, LIVE),
    Case("conformance-normalizer-down", "one of two", {RAW % "a": "0x10 stale", RAW % "b": "0x30"}, 20),
    Case("conformance-normalizer-down", "a worker", {QUEUE: "0x10 stale", RAW % "a": "0x30"}, 20),
    Case(
        "schema-violations",
        "rows that strict refuses",
        {REFUSED % "strict": "_x10 4x10"},
        12,
        {**LIVE, "subject": "s", "reason": "unknown_schema"},
    ),
    Case("schema-violations", "rows that would be refused", {REFUSED % "optional": "0+4x20"}, 12),
    Case(
        "schema-exception-expiring",
        "one that ends",
        {f"seamless_schema_exceptions_expiring{{{BARS}}}": "1x5"},
        3,
        OF_BARS,
    ),
    Case("schema-exception-expiring", "none that ends", {f"seamless_schema_exceptions_expiring{{{BARS}}}": "0x5"}, 3),
    Case(
        "schema-exception-expired",
        "one that was needed",
        {ACTIVE: "2x10 1x40", ROWS_IN: "0+100x50", QUARANTINED: "0+5x50"},
        40,
        OF_BARS,
    ),
    Case("schema-exception-expired", "one that nobody needed", {ACTIVE: "2x10 1x40", ROWS_IN: "0+100x50"}, 40),
    Case(
        "schema-exception-expired",
        "bad rows and no end",
        {ACTIVE: "2x50", ROWS_IN: "0+100x50", QUARANTINED: "0+5x50"},
        40,
    ),
    Case("schema-registry-wait", "ids that stay unknown", {f"seamless_registry_wait{{{BARS}}}": "1x10"}, 5, OF_BARS),
    Case("schema-registry-wait", "an id that is known by now", {f"seamless_registry_wait{{{BARS}}}": "1x1 0x10"}, 5),
    Case("archive-lag-growing", "ever more records", {ARCHIVE % p: "0+9000x40" for p in range(2)}, 35, OF_BARS),
    Case("archive-lag-growing", "many that become fewer", {ARCHIVE % 0: "900000-1000x40"}, 35),
    Case(
        "archive-commits-refused",
        "one after the other",
        {f"seamless_archive_refused_commits_total{{{BARS}}}": "0+5x30"},
        20,
        OF_BARS,
    ),
    Case(
        "archive-commits-refused",
        "one now and then",
        {f"seamless_archive_refused_commits_total{{{BARS}}}": "0+1x30"},
        20,
    ),
    Case("archive-archiver-down", "the only one", {ARCHIVE % 0: "0x10 stale"}, 20, LIVE),
    Case("archive-archiver-down", "one of two", {ARCHIVE % 0: "0x10 stale", ARCHIVE % 1: "0x30"}, 20),
    Case(
        "process-down",
        "a process of ours",
        {'up{job="seamless-worker",instance="a"}': "1x5 0x10"},
        10,
        {"job": "seamless-worker", "instance": "a"},
    ),
    Case("process-down", "somebody else's process", {'up{job="node",instance="a"}': "0x10"}, 10),
)


def as_test(case: Case) -> dict[str, object]:
    """Return a case as promtool takes it."""
    name = f"seamless-{case.alert}"
    [severity] = [alert["labels"]["severity"] for alert in alerts() if alert["alert"] == name]
    firing = {
        "alertname": name, "alertstate": "firing", "severity": severity, "product": "seamless", **(case.labels or {}),
    }  # fmt: skip
    told = ",".join(f'{label}="{value}"' for label, value in firing.items())
    return {
        "name": f"{name}: {case.what}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{name}",alertstate="firing"}}',
                "eval_time": f"{case.minutes}m",
                "exp_samples": [] if case.labels is None else [{"labels": f"ALERTS{{{told}}}", "value": 1}],
            }
        ],
    }


@pytest.mark.parametrize("name", [alert["alert"].removeprefix("seamless-") for alert in alerts()])
def test_an_alert_fires_for_what_it_is_for_and_for_nothing_else(
    name: str, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    cases = [case for case in CASES if case.alert == name]
    assert {case.labels is None for case in cases} == {True, False}, "it needs cases of both kinds"
    rules = [str(path) for path in written(tmp_path, bundle()) if path.suffix == ".yml"]
    tests = {"rule_files": rules, "evaluation_interval": "1m", "tests": [as_test(case) for case in cases]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(tests), "utf-8")
    done = subprocess.run(
        [tool("promtool"), "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_case_is_of_an_alert_that_is_not_there() -> None:
    assert {f"seamless-{case.alert}" for case in CASES} == {alert["alert"] for alert in alerts()}
