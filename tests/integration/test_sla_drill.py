"""The drill as operators run it: an agent, a bridge, a real Alertmanager, and a promise that is broken on purpose."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.stack import EmbeddedStack
from tests.support.alerting import Alertmanager, Webhook, listening
from tests.support.processes import running
from tests.support.progress import until
from tests.support.sla_worlds import SLAWorld, make_sla_world

pytestmark = pytest.mark.kafka

SCRIPT = Path(__file__).parents[2] / "scripts" / "inject_sla_violation.py"
WINDOW_S = 4
OBJECTIVES: dict[str, dict[str, Any]] = {
    "quick": {"kind": "quantile", "limit": "1s", "window": f"{WINDOW_S}s", "severity": "critical"},
    "steady": {
        "kind": "budget",
        "phase": "storage_wait",
        "limit": "1s",
        "target": 0.95,
        "burn": [{"long": "60s", "short": "20s", "rate": 10}],
    },
    "fresh": {"kind": "staleness", "limit": "1h"},
}


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with listening() as found:
        yield found


@pytest.fixture
def alertmanager(tool: Callable[[str], Path], tmp_path: Path, hook: Webhook) -> Iterator[Alertmanager]:
    with Alertmanager(tool, tmp_path / "alertmanager", hook) as found:
        yield found


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path, alertmanager: Alertmanager) -> SLAWorld:
    alerting = {"alertmanagers": [alertmanager.url], "resend_interval_s": 1.0}
    return make_sla_world(stack, world, tmp_path, OBJECTIVES, alerting=alerting)


def drill(made: SLAWorld, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments, "--config", str(made.config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def test_a_drill_ends_when_the_alert_is_there_and_says_how_long_each_took(
    made: SLAWorld, hook: Webhook, tmp_path: Path
) -> None:
    config = ["--config", str(made.config)]
    with (
        running(["sla-agent", *config], tmp_path / "agent.log") as agent,
        running(["alert-bridge", *config], tmp_path / "bridge.log") as bridge,
    ):
        until(lambda: agent.output().count("sla_partition_taken") >= 4, 60, "taking partitions", agent.output)
        until(lambda: "alert_bridge_caught_up" in bridge.output(), 60, "the bridge's start", bridge.output)
        for objective in ("quick", "steady"):
            ran = drill(made, objective, "--yes", "--json")
            assert ran.returncode == 0, ran.stderr + agent.output() + bridge.output()
            told = json.loads(ran.stdout)
            assert told["consumer"] == "drill"
            assert told["observed"] == pytest.approx(1.5 * told["promised"])
            [opened] = [b for b in made.breaches() if b.objective == objective and b.state == "opened"]
            assert opened.id == told["breach"]["id"]
            assert opened.synthetic
            assert opened.observed == pytest.approx(told["observed"], rel=0.01)
            assert told["breach"]["seconds_behind_window"] < 5
            [alert] = told["alerts"].values()
            assert told["breach"]["seconds"] <= alert["seconds"] < WINDOW_S + 15
            assert hook.await_alert("firing", objective=objective)["labels"]["synthetic"] == "true"
        again = drill(made, "steady", "--yes")
        assert again.returncode == 1
        assert "is broken since" in again.stderr
        # With the next window, in which nothing is observed, the promise is kept again.
        hook.await_alert("resolved", objective="quick")


def test_without_yes_it_only_says_what_it_would_do(made: SLAWorld) -> None:
    ran = drill(made, "quick", "--by", "2")
    assert ran.returncode == 0, ran.stderr
    assert "100 of them bad, come to 2 s, and the limit is 1 s" in ran.stdout
    assert "Nothing was done. Do it with --yes." in ran.stdout
    assert made.states() == []


def test_without_an_agent_it_fails_and_says_what_to_look_at(made: SLAWorld) -> None:
    ran = drill(made, "quick", "--yes", "--wait", "1")
    assert ran.returncode == 1
    assert "seamless sla-agent" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_observations_do_not_break_is_refused(made: SLAWorld) -> None:
    ran = drill(made, "fresh", "--yes")
    assert ran.returncode == 2
    assert "stop the producer" in ran.stderr
