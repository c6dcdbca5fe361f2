"""The monitoring bundle: what it shows and asks for is there, complete, and made of what the code exports."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.monitoring.bundle import SOURCES, rendered, written
from streams.errors import SettingsError
from streams.metrics import METRICS
from tests.support.monitoring import alerts, bundle, dashboards, panels, recorded
from tests.support.processes import SEAMLESS
from tests.support.promql import filled, selected

JSONNET = sorted([*SOURCES.rglob("*.jsonnet"), *SOURCES.rglob("*.libsonnet")])
EVERY_SERIES = {"world_id", "job", "instance"}
OF_PROMETHEUS = {"up": EVERY_SERIES - {"world_id"}}
DASHBOARDS = {
    "Seamless SLA Overview",
    "Backfill Coordinator Health",
    "Conformance Quality",
    "Pipeline Throughput and Lag",
}
PREFIXES = ("sla", "backfill", "conformance", "schema", "archive", "process")


def exported() -> dict[str, set[str]]:
    """Return the labels of each series that a process exports, by name."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        labels = EVERY_SERIES | set(metric.labels)
        if metric.type == "histogram":
            found |= {metric.name + part: labels for part in ("_count", "_sum")}
            found[metric.name + "_bucket"] = labels | {"le"}
        else:
            found[metric.name] = labels
    return found


def queries() -> list[tuple[str, str]]:
    """Return every query of the bundle, with where it is."""
    shown = [
        (f"{dashboard['title']}: {panel['title']}", filled(target["expr"]))
        for dashboard in dashboards()
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]
    drawn = [
        (f"{dashboard['title']}: {annotation['name']}", filled(annotation["expr"]))
        for dashboard in dashboards()
        for annotation in dashboard["annotations"]["list"]
    ]
    return shown + drawn + [(rule.get("alert") or rule["record"], rule["expr"]) for rule in (*alerts(), *recorded())]


def test_there_are_the_dashboards_that_are_promised_each_with_its_variables() -> None:
    assert {dashboard["title"] for dashboard in dashboards()} == DASHBOARDS
    for dashboard in dashboards():
        names = [variable["name"] for variable in dashboard["templating"]["list"]]
        assert names == ["datasource", "world", "dataset", "interval", "consumer"]


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda found: found["uid"])
def test_every_panel_says_what_it_shows_in_which_unit(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert re.fullmatch(r"[A-Z].{20,}\.", panel["description"]), panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda found: found["uid"])
def test_rollbacks_and_new_versions_are_drawn_over_every_dashboard(dashboard: dict[str, Any]) -> None:
    drawn = {each["name"]: each["expr"] for each in dashboard["annotations"]["list"]}
    assert drawn.keys() == {"Rollbacks", "Versions"}
    assert "seamless_rollback_active" in drawn["Rollbacks"]
    assert re.search(r"unless .*seamless_build_info\{.+\} offset 5m", drawn["Versions"])


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda found: found["uid"])
def test_no_panel_lies_over_another(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize(("where", "query"), queries())
def test_no_query_names_a_metric_or_a_label_that_nobody_exports(where: str, query: str) -> None:
    known, own = exported() | OF_PROMETHEUS, {rule["record"] for rule in recorded()}
    found = selected(query)
    assert found, where
    for each in found:
        if each.metric not in own:
            assert each.metric in known, f"{where} asks for {each.metric}"
            assert each.labels <= known[each.metric], f"{where} asks for {each.text}"


def test_every_metric_of_the_system_is_looked_at_somewhere() -> None:
    named = {each.metric for _, query in queries() for each in selected(query)}
    told_in_other_words = {
        "seamless_transactions_total",  # commits, which rows and their times tell
        "seamless_restore_seconds",  # once, at the start of a process
        "seamless_archive_commits_total",
        "seamless_partial_fill_total",  # among the violations, by outcome
        "seamless_stream_late_rows_total",
        "seamless_sla_breaches_total",  # those that are open are shown
        "seamless_sla_late_observations_total",
        "seamless_sla_observations_unreadable_total",
        "seamless_sla_window_close_seconds",
        "seamless_alerts_posted_total",
        "seamless_alert_post_failures_total",
        "seamless_alerts_open",
    }
    unseen = {m.name for m in METRICS if not {m.name, m.name + "_bucket", m.name + "_count"} & named}
    assert unseen == told_in_other_words


@pytest.mark.parametrize("alert", alerts(), ids=lambda found: found["alert"])
def test_every_alert_says_how_bad_it_is_what_it_means_and_where_to_look(alert: dict[str, Any]) -> None:
    name, told = alert["alert"], alert["annotations"]
    assert re.fullmatch(rf"seamless-({'|'.join(PREFIXES)})-[a-z0-9-]+", name)
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert told["summary"]
    assert told["description"].endswith(".")
    assert told["runbook_url"].endswith(f"/{name}.md")
    uids = {dashboard["uid"] for dashboard in dashboards()}
    assert re.search(r"/d/([a-z-]+)\?", told["dashboard_url"])[1] in uids  # type: ignore[index]


def test_the_recording_rule_that_others_build_on_is_there() -> None:
    assert "seamless_sla_total_p99_seconds" in {rule["record"] for rule in recorded()}


def test_no_name_is_given_twice() -> None:
    for names in ([rule["alert"] for rule in alerts()], [rule["record"] for rule in recorded()]):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", JSONNET, ids=lambda path: path.name)
def test_jsonnet_is_formatted_and_names_nothing_in_vain(path: Path, tool: Callable[[str], Path]) -> None:
    done = subprocess.run([tool("jsonnetfmt"), "--test", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"jsonnetfmt -i {path.relative_to(SOURCES)}"
    text = re.sub(r"//.*", "", path.read_text("utf-8"))
    for name in re.findall(r"\blocal (\w+)", text):
        assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path.name}: {name} is never used"


def test_prometheus_takes_the_rules(tool: Callable[[str], Path], tmp_path: Path) -> None:
    made = [path for path in written(tmp_path, bundle()) if path.suffix == ".yml"]
    done = subprocess.run([tool("promtool"), "check", "rules", *made], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def changed(folder: Path, text: str) -> dict[str, str]:
    path = folder / "ours.jsonnet"
    path.write_text(text, "utf-8")
    return rendered(path)


def test_an_installation_lays_its_own_words_over_the_bundle(tmp_path: Path) -> None:
    files = changed(
        tmp_path,
        """{
          selector: 'cluster="eu"',
          links: { runbooks: 'https://wiki.example/run' },
          objectives: { total_p99_seconds_of: { 'trade.us': 5 } },
          thresholds: { lag_records: 7 },
        }""",
    )
    rules = {
        rule["alert"]: rule
        for group in yaml.safe_load(files["rules/seamless-alerts.yml"])["groups"]
        for rule in group["rules"]
    }
    assert rules["seamless-sla-deadline-p99"]["expr"] == (
        'seamless_sla_total_p99_seconds{cluster="eu",dataset!~"trade\\\\.us"} > 90 or '
        'seamless_sla_total_p99_seconds{cluster="eu",dataset="trade.us"} > 5'
    )
    assert "> 7 and" in rules["seamless-conformance-lag-growing"]["expr"]
    assert rules["seamless-process-down"]["annotations"]["runbook_url"] == (
        "https://wiki.example/run/seamless-process-down.md"
    )
    for name, text in files.items():
        if name.startswith("dashboards/"):
            for panel in panels(json.loads(text)):
                for target in panel["targets"]:
                    assert all('cluster="eu"' in each.text for each in selected(filled(target["expr"])))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{ thresholds: { lag: 1 } }", r"thresholds\.lag is no key of the monitoring: use one of agent_lag_records"),
        ("{ threshold: {} }", "threshold is no key of the monitoring: use one of datasource"),
        ("{ thresholds: { lag_records: '1' } }", r"thresholds\.lag_records is of type string, and must be of type num"),
        ("{ thresholds: ", "1:15 Unexpected end of file"),
    ],
)
def test_what_the_bundle_does_not_know_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        changed(tmp_path, text)


def test_a_user_without_the_repository_exports_the_same_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [SEAMLESS, "monitoring", "export", tmp_path / "out", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert {Path(path).relative_to(told["dir"]).as_posix() for path in told["files"]} >= set(bundle())
    for name, text in bundle().items():
        assert (tmp_path / "out" / name).read_text("utf-8") == text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(SettingsError, match="file cannot be written"):
        written(tmp_path / "file", bundle())
