"""The definition of done against a real system: ready, then each line broken by its own cause, and mended again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from coordinator.shards import ShardState
from operations.monitoring.bundle import RUNBOOKS
from operations.testing.processes import Process
from operations.testing.worlds import SeamlessWorld, settings_of
from streams import GovernedProducer, topics
from streams.cli import app
from streams.clock import now
from streams.ready.checks import Asked, looked_at
from streams.ready.span import Span
from streams.ready.verdict import Verdict, exit_code
from streams.registry import Registry
from streams.settings import load_with_origins
from tests.support.operating import bars_from, sources_installed
from tests.support.processes import SEAMLESS, WITH_TEST_SOURCES
from tests.support.progress import until
from tests.support.sla_worlds import SLAWorld, observation
from tests.support.working import asked, job_now
from tests.support.worlds import World

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400), pytest.mark.usefixtures("logging_as_it_was")]

BARS = {
    "contract": "ohlcv", "interval": "1m", "calendar": "24/7", "mode": "blocking", "partitions": 1,
    "schema_mode": "strict",
}  # fmt: skip
QUICK = {"kind": "quantile", "quantile": 0.5, "limit": "1s", "window": "2s", "dataset": "bars"}
# By what a budget remembers it stays known that somebody fetched.
BUDGET = {"kind": "budget", "limit": "10m", "dataset": "bars"}
GROUPS = """
import pytest

@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.seamless_group("{0}")
def test_{0}(n):
    assert {1}
"""
PATIENCE_S = 90.0


class System:
    """A system that is to be ready, and what tests do to it."""

    def __init__(self, world: SeamlessWorld, folder: Path) -> None:
        self.world, self._folder, self._minute = world, folder, 0
        self.report, self.runbooks = folder / "report.json", folder / "runbooks"
        registry = Registry(world.settings.registry)
        raw, normalized = (
            registry.latest(topics.subject(t(world.name, "bars"))) for t in (topics.raw, topics.normalized)
        )
        assert raw is not None
        assert normalized is not None
        self.inner = World(world.settings, world.config, registry, raw, normalized)
        self.sla = SLAWorld(self.inner)

    def run(self, *command: str) -> Process:
        return self.world.run(*command, environ=WITH_TEST_SOURCES)

    def call(self, *command: str, code: int = 0) -> str:
        """Run a command in this process, which takes less time than another one; return what it prints."""
        done = CliRunner().invoke(app, [*command, "--config", str(self.world.config)])
        assert done.exit_code == code, done.output
        return done.stdout

    def send(self, close: float = 100.0) -> None:
        """Send one row; it breaks the contract if its price does."""
        self._minute += 1
        at = datetime(2026, 1, 5, 14, 30, tzinfo=UTC) + timedelta(minutes=self._minute)
        prices = {name: [close] for name in ("open", "high", "low", "close")}
        frame = pl.DataFrame({"symbol": ["AAA"], "event_time": [at], **prices, "volume": [1.0]})
        with GovernedProducer("bars", self.world.settings, on_violation="warn") as producer:
            producer.send(frame)

    def fetched(self, seconds: float) -> None:
        """Tell that a reader has fetched, and how long it took."""
        self.sla.write(observation(now(), seconds))

    def tested(self, *, good: bool = True) -> None:
        """Run tests of every group, and have them reported."""
        tests = self._folder / "tests"
        tests.mkdir(exist_ok=True)
        for group in ("regression", "fault_injection", "observability"):
            passes = good or group != "observability"
            (tests / f"test_{group}.py").write_text(GROUPS.format(group, passes), "utf-8")
        (tests / "pytest.ini").write_text("[pytest]\n", "utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--seamless-report", str(self.report)]
        subprocess.run(command, cwd=tests, check=good, capture_output=True)

    def look(self, window: timedelta = timedelta(hours=1), **changes: Any) -> list[Verdict]:
        """Return each line, with settings that are changed for this look."""
        config = settings_of(self.world.config, changes, self._folder) if changes else self.world.config
        loaded = load_with_origins(config, env={})
        runbooks = self.runbooks if self.runbooks.exists() else None
        span = Span.of(now(), window, max(window, timedelta(minutes=10)))
        return list(looked_at(Asked(loaded, span, self.report, runbooks, 5.0), lambda what: None))

    def until(
        self, check: str, state: str, says: str = "", before: Callable[[], timedelta | None] = lambda: None
    ) -> str:
        """Wait until one line is as wanted and all others hold; return what it says.

        Args:
            before: called before each look; returns its window, None for an hour.
        """
        last: list[Verdict] = []

        def so() -> bool:
            nonlocal last
            last = self.look(before() or timedelta(hours=1))
            return all(v.state == (state if v.check == check else "pass") for v in last) and says in self._said(
                last, check
            )

        until(so, PATIENCE_S, f"{check} {state}", lambda: "\n".join(map(str, last)))
        return self._said(last, check)

    def _said(self, found: list[Verdict], check: str) -> str:
        return next(v.says for v in found if v.check == check)


@pytest.fixture
def system(seamless_world: SeamlessWorld, tmp_path: Path) -> Iterator[System]:
    with sources_installed():
        yield System(seamless_world, tmp_path)


@pytest.mark.seamless_world(
    datasets={"bars": BARS}, archive={"url": "archive", "commit_interval_s": 0.2},
    topics={"shard_partitions": 1, "event_partitions": 1},
    sla={"objectives": {"quick": QUICK, "all": BUDGET}}, sla_agent={"defaults": False, "checkpoint_s": 0.5},
    backfill={"slots": 1}, with_coordinator=True,
)  # fmt: skip
def test_a_system_is_ready_and_each_line_fails_by_its_own_cause_until_that_is_mended(
    system: System, tmp_path: Path
) -> None:
    assert all(v.remedy for v in system.look() if v.state != "pass")

    for command in (("normalize",), ("archive", "run"), ("sla-agent",)):
        system.run(*command)
    worker = system.run("worker")
    system.tested()
    system.send()
    system.fetched(0.1)
    system.until("conformance", "pass")

    # The command says the same as its parts.
    report = ("--test-report", str(system.report))
    told = system.call("ready", "--explain", *report)
    assert told.count("pass ") == told.count("why: ") == 8
    assert "bars: strict at FULL_TRANSITIVE" in told
    assert f"{system.world.name} is ready" in told

    # Tests: one failed.
    good = system.report.read_bytes()
    system.tested(good=False)
    assert "test_observability" in system.until("tests", "fail")
    called = [str(SEAMLESS), "ready", "--json", *report, "--config", str(system.world.config)]
    refused = subprocess.run(called, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    answer = json.loads(refused.stdout)
    assert answer["ready"] is False
    assert [line["check"] for line in answer["lines"] if line["state"] != "pass"] == ["tests"]
    system.report.write_bytes(good)

    # Conformance: a row without a number, until somebody has dealt with it.
    system.send(close=float("nan"))
    assert "non_finite" in system.until("conformance", "fail")
    system.call("quarantine", "dismiss", "bars", "--all", "--why", "the vendor's mistake")
    shadow = system.look(datasets={"bars": {"mode": "shadow"}}, archive={"url": str(system.world.folder / "archive")})
    assert [v.check for v in shadow if v.state != "pass"] == ["conformance"]

    # Schemas: back to optional, and on again.
    system.call("schema", "demote", "bars", "--reason", "a new feed")
    system.until("schemas", "fail", "optional")
    system.call("schema", "mode", "bars", "strict", "--reason", "its schema is registered")

    # Rollbacks: blocking is taken back, and put back.
    system.call("rollback", "shadow", "--reason", "a unit changed")
    assert [v.check for v in system.look() if v.state != "pass"] == ["conformance", "rollbacks"]
    system.call("rollback", "undo", "--reason", "the contract is mended")

    # Runbooks: of the version before.
    page = system.runbooks / "en" / "seamless-sla-staleness.md"
    page.parent.mkdir(parents=True)
    for path in RUNBOOKS.glob("en/*.md"):
        (page.parent / path.name).write_text(path.read_text("utf-8").replace("# seamless", "# v1: seamless"), "utf-8")
    assert "speaks of v1" in system.until("runbooks", "fail")
    for path in RUNBOOKS.glob("en/*.md"):
        (page.parent / path.name).write_text(path.read_text("utf-8"), "utf-8")

    # Promises: a reader had to wait, until the promise is kept and the window is past it.
    system.fetched(3.0)
    until(lambda: "opened" in system.sla.states(), 30, "the breach")
    broken = now()
    assert "quick of bars" in system.until("objectives", "fail", "are broken", lambda: system.fetched(3.0))
    system.fetched(0.1)
    # One, or more where the readers above came so slowly that a window went by without one.
    assert " broke in the last" in system.until("objectives", "fail", "none is broken now")

    # Leases: a worker is killed with a shard in its hands.
    hang = tmp_path / "go"
    job = asked(system.inner, bars_from(100, hang=hang), ["BBB"], 100)
    until(
        lambda: job_now(system.inner, job.id).shards_by_state.get(ShardState.RUNNING) == 1,
        60,
        "the claim",
        worker.output,
    )
    worker.kill()
    hang.touch()
    another = system.run("worker")
    until(lambda: job_now(system.inner, job.id).state == "done", 60, "the job", another.output)
    taken = now()
    found = {v.check: v for v in system.look()}
    assert found["leases"].state == "fail"
    assert "1 abandoned" in found["leases"].says

    # Both are well again as soon as the window is past what happened.
    def since() -> timedelta:
        system.send()
        return max(timedelta(seconds=1), (now() - max(broken, taken)) / 2)

    system.until("leases", "pass", before=since)

    # What cannot be looked at is no verdict.
    hidden = system.look(registry={"url": "http://127.0.0.1:9"})
    assert exit_code(hidden) == 2
    assert {v.check for v in hidden if v.state == "unknown"} >= {"conformance", "objectives", "schemas"}
    assert {v.check: v.state for v in hidden}["doctor"] == "fail"
