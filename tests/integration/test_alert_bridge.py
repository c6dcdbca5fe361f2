"""The alert bridge against a real Alertmanager: what is broken fires, what is kept again resolves, whoever restarts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from operations.stack import EmbeddedStack
from tests.support.alerting import Alertmanager, Breaches, Webhook, a_breach, listening
from tests.support.processes import SEAMLESS, Process, asked, metric_of, metrics_of, running
from tests.support.progress import until
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

RESEND_S = 1.0
BELIEVED_S = 4 * RESEND_S


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with listening() as found:
        yield found


@pytest.fixture
def alertmanager(tool: Callable[[str], Path], tmp_path: Path, hook: Webhook) -> Iterator[Alertmanager]:
    with Alertmanager(tool, tmp_path / "alertmanager", hook) as found:
        yield found


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path, alertmanager: Alertmanager) -> World:
    alerting = {
        "alertmanagers": [alertmanager.url],
        "resend_interval_s": RESEND_S,
        "timeout_s": 2.0,
        "labels": {"cluster": "eu"},
        "generator_url": "http://localhost/where",
    }
    return make_world(stack, world, tmp_path, alerting=alerting)


@pytest.fixture
def breaches(made: World) -> Breaches:
    return Breaches(made)


def bridge(made: World, folder: Path) -> AbstractContextManager[Process]:
    return running(["alert-bridge", "--config", str(made.config)], folder / f"bridge-{uuid4().hex[:4]}.log")


def caught_up(process: Process) -> None:
    until(lambda: "alert_bridge_caught_up" in process.output() or not process.alive(), 60, "a start", process.output)
    assert process.alive(), process.output()


def resolved(breach: Any, **changes: Any) -> Any:
    wanted = {"sequence": breach.sequence + 1, "state": "resolved", "reason": "kept", "at": datetime.now(UTC)}
    return replace(breach, **{**wanted, **changes})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_a_breach_fires_with_all_that_is_known_of_it_and_resolves_once(
    made: World, breaches: Breaches, hook: Webhook, tmp_path: Path
) -> None:
    opened = a_breach(made.name, severity="critical", runbook_url="http://localhost/runbook")
    with bridge(made, tmp_path) as process:
        caught_up(process)
        breaches.write(opened)
        alert = hook.await_alert("firing")
        assert alert["labels"] == {
            "alertname": "SeamlessSLADeadlineMissed",
            "world_id": made.name,
            "objective": "quick",
            "dataset": DATASET,
            "consumer": "alpha",
            "phase": "total",
            "severity": "critical",
            "cluster": "eu",
        }
        assert alert["annotations"]["breach_id"] == opened.id
        assert alert["annotations"]["runbook_url"] == "http://localhost/runbook"
        assert "observed 3.25 s, and the limit is 2 s" in alert["annotations"]["description"]
        assert at(alert["startsAt"]) == opened.opened_at
        assert alert["generatorURL"] == "http://localhost/where"
        over = resolved(opened)
        breaches.write(over)
        ended = hook.await_alert("resolved")
        assert ended["labels"] == alert["labels"]
        assert abs(at(ended["endsAt"]) - over.at) < timedelta(milliseconds=2)
        assert process.terminate() == 0
    assert [a["status"] for a in hook.alerts()] == ["firing", "resolved"]


def test_what_is_aborted_or_no_breach_is_not_told_and_holds_up_nobody(
    made: World, breaches: Breaches, hook: Webhook, tmp_path: Path
) -> None:
    with bridge(made, tmp_path) as process:
        caught_up(process)
        breaches.write_and_abort(a_breach(made.name, objective="aborted"))
        breaches.write_junk()
        breaches.write(a_breach(made.name, objective="committed"))
        hook.await_alert("firing", objective="committed")
        assert "breach_unreadable" in process.output()
    assert {alert["labels"]["objective"] for alert in hook.alerts()} == {"committed"}


def test_what_gets_worse_is_one_alert_less_and_one_more(
    made: World, breaches: Breaches, hook: Webhook, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    opened = a_breach(made.name)
    with bridge(made, tmp_path) as process:
        caught_up(process)
        breaches.write(opened)
        hook.await_alert("firing", severity="warning")
        breaches.write(replace(opened, sequence=1, state="escalated", severity="critical", at=datetime.now(UTC)))
        hook.await_alert("firing", severity="critical")
        hook.await_alert("resolved", severity="warning")
        [active] = alertmanager.firing(world_id=made.name)
        assert active["labels"]["severity"] == "critical"


def test_an_alertmanager_that_comes_back_empty_is_told_again_also_of_what_resolved_meanwhile(
    made: World, breaches: Breaches, hook: Webhook, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    lasting, ending = (a_breach(made.name, objective=name) for name in ("lasting", "ending"))
    with bridge(made, tmp_path) as process:
        caught_up(process)
        breaches.write(lasting, ending)
        hook.await_alert("firing", objective="lasting")
        hook.await_alert("firing", objective="ending")
        alertmanager.kill()
        until(lambda: metric_of(process, "seamless_alert_post_failures_total") >= 2, 30, "failures", process.output)
        report = json.loads(asked(process, "/healthz"))
        assert report["status"] == "degraded"
        assert alertmanager.url in report["reasons"][0]
        breaches.write(resolved(ending))
        hook.calls.clear()
        alertmanager.start()
        hook.await_alert("firing", objective="lasting")
        until(lambda: json.loads(asked(process, "/healthz"))["status"] == "ok", 30, "health", process.output)
        assert {a["labels"]["objective"] for a in alertmanager.firing(world_id=made.name)} == {"lasting"}
        assert process.output().count("alerts_not_posted") == 1
        assert "alertmanager_back" in process.output()


def test_a_bridge_that_was_killed_rebuilds_what_is_open_and_what_resolved_meanwhile(
    made: World, breaches: Breaches, hook: Webhook, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    lasting, ending = (a_breach(made.name, objective=name) for name in ("lasting", "ending"))
    with bridge(made, tmp_path) as process:
        caught_up(process)
        breaches.write(lasting, ending)
        hook.await_alert("firing", objective="lasting")
        hook.await_alert("firing", objective="ending")
        process.kill()
    over = resolved(ending)
    breaches.write(over)
    with bridge(made, tmp_path) as process:
        caught_up(process)
        ended = hook.await_alert("resolved", objective="ending")
        assert abs(at(ended["endsAt"]) - over.at) < timedelta(seconds=BELIEVED_S)
        # It outlives what the first bridge had said of it: both are told with each of these posts.
        enough = 2 * 2 * BELIEVED_S / RESEND_S
        until(lambda: metric_of(process, "seamless_alerts_posted_total") > enough, 60, "posts", process.output)
        [active] = alertmanager.firing(world_id=made.name)
        assert active["labels"]["objective"] == "lasting"
        text = metrics_of(process)
        assert f'seamless_alerts_open{{severity="warning",world_id="{made.name}"}} 1.0' in text
        assert metric_of(process, "seamless_alert_post_age_seconds") < BELIEVED_S


def test_without_a_bridge_alerts_end_by_themselves(
    made: World, breaches: Breaches, hook: Webhook, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    with bridge(made, tmp_path) as process:
        caught_up(process)
        breaches.write(a_breach(made.name))
        hook.await_alert("firing")
        process.kill()
    hook.await_alert("resolved", seconds=4 * BELIEVED_S)
    assert alertmanager.firing(world_id=made.name) == []


def test_without_an_alertmanager_in_the_settings_it_says_what_to_set(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    config = make_world(stack, world, tmp_path).config
    ran = subprocess.run(
        [str(SEAMLESS), "alert-bridge", "--config", str(config)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "seamless.alerting.alertmanagers" in ran.stderr
    assert "Traceback" not in ran.stderr
