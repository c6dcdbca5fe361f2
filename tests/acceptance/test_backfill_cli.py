"""`seamless backfill` as a person types it: ask, look, watch, steer, prove, explain."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.lease_event import LeaseChange
from coordinator.local import LocalBackfillCoordinator
from coordinator.shards import Progress, ShardState
from tests.support.bars import START
from tests.support.hand_worker import HandWorker, rows_of_shard
from tests.support.processes import SEAMLESS, Process
from tests.support.progress import until
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

BEGIN = datetime.fromtimestamp(START / 1e6, UTC)
FROM, TO = BEGIN.isoformat(), (BEGIN + timedelta(minutes=60)).isoformat()
WANTED = ("--symbols", "AAA,BBB", "--start", FROM, "--end", TO, "--source", "files:none.parquet", "--target-rows", "20")


@pytest.fixture
def made(stack: Any, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path)
    yield made
    made.registry.close()


@pytest.fixture
def hand(made: World) -> Iterator[HandWorker]:
    hand = HandWorker(made, "alpha:11")
    yield hand
    hand.close()


def run(made: World, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(SEAMLESS), "backfill", *arguments, "--config", str(made.config)]
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "160", "USER": "tester"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def answer(made: World, *arguments: str, code: int = 0) -> Any:
    return json.loads(run(made, *arguments, "--json", code=code).stdout)


def shards_of(made: World, job: str) -> list[Progress]:
    coordinator = LocalBackfillCoordinator(made.settings)
    try:
        with coordinator.reading() as view:
            return sorted(view.shards_of(job), key=lambda p: (p.shard.start, p.shard.symbols))
    finally:
        coordinator.close()


def test_a_plan_shows_what_a_request_would_do_and_does_nothing(made: World) -> None:
    planned = answer(made, "plan", "bars", *WANTED)
    assert planned["queued"] == len(planned["shards"]) >= 6
    assert sum(s["estimated_rows"] for s in planned["shards"]) == 120
    text = run(made, "plan", "bars", *WANTED).stdout
    assert all(s["id"] in text for s in planned["shards"])
    assert "about 120 rows" in text
    assert answer(made, "list") == []
    assert "There is no backfill" in run(made, "list").stdout


def test_a_job_from_its_request_to_its_certificate(made: World, hand: HandWorker, tmp_path: Path) -> None:
    (tmp_path / "symbols.txt").write_text("BBB\nAAA\n\nAAA\n")
    options = ("--symbols", f"@{tmp_path / 'symbols.txt'}", *WANTED[2:])
    asked = answer(made, "request", "bars", *options)
    job = asked["job"]["id"]
    assert asked["created"]
    assert asked["job"]["symbols"] == ["AAA", "BBB"]
    assert asked["job"]["requested_by"] == "tester"
    again = run(made, "request", "bars", *WANTED).stdout
    assert "It was asked for before." in again
    assert "Nothing to queue" in again

    watching = Process(["backfill", "watch", job, "--config", str(made.config)], tmp_path / "watch.log")
    as_lines = Process(["backfill", "watch", job, "--json", "--config", str(made.config)], tmp_path / "watch.json")
    try:
        until(lambda: "pending" in watching.output(), 60, "the first line of watch", watching.output)
        shards = shards_of(made, job)
        first, other = shards[0], HandWorker(made, "beta:22")
        rows = rows_of_shard(first.shard)
        held = hand.chunk(first, rows[:5], event=LeaseChange.CLAIMED)
        until(lambda: "running" in as_lines.output(), 60, "a shard that runs", as_lines.output)
        taken = other.chunk(held, rows[5:9], event=LeaseChange.RESUMED)
        other.chunk(taken, rows[9:], ShardState.DONE, event=LeaseChange.COMPLETED)
        other.close()
        until(lambda: "moved from alpha:11 to beta:22" in watching.output(), 60, "the move", watching.output)
        for progress in shards[1:]:
            hand.complete(progress, event=LeaseChange.COMPLETED)
        assert watching.wait(60) == 0, watching.output()
        assert as_lines.wait(60) == 0, as_lines.output()
    finally:
        for process in (watching, as_lines):
            if process.alive():
                process.kill()
    assert f"{job} is done: 120 rows, 100.0%" in watching.output()
    told = [json.loads(line) for line in as_lines.output().splitlines() if line.startswith("{")]
    assert told[-1]["kind"] == "ended"
    assert told[-1]["state"] == "done"
    assert {"shard", "lease", "job"} <= {line["kind"] for line in told}

    (listed,) = answer(made, "list", "--state", "done")
    assert (listed["id"], listed["ratio"]) == (job, 1.0)
    shown = answer(made, "show", job, "--shards")
    assert len(shown["shard_list"]) == len(shards)
    assert first.shard.id in run(made, "show", job).stdout

    story = run(made, "explain", first.shard.id).stdout
    assert "alpha:11" in story
    assert "beta:22 completed it with 20 rows." in story or "beta:22 completed it" in story
    assert [h["host"] for h in answer(made, "explain", first.shard.id)["holdings"]] == ["alpha:11", "beta:22"]

    certificate = tmp_path / "c.json"
    proven = run(made, "verify", job, "--certificate", str(certificate)).stdout
    assert f"Complete: {len(shards)} shards, 120 rows, each exactly once." in proven
    assert "root " in proven
    run(made, "verify", "--check", str(certificate))
    assert "Whole" in run(made, "verify", "--check", str(certificate), "--offline").stdout

    text = certificate.read_text()
    certificate.write_text(text.replace('"rows": 20', '"rows": 21', 1))
    assert certificate.read_text() != text
    for extra in ((), ("--offline",)):
        found = run(made, "verify", "--check", str(certificate), *extra, code=1)
        assert "was changed" in found.stderr


def test_what_is_not_complete_is_not_proven_and_writes_no_certificate(
    made: World, hand: HandWorker, tmp_path: Path
) -> None:
    job = answer(made, "request", "bars", *WANTED)["job"]["id"]
    shards = shards_of(made, job)
    for progress in shards[1:]:
        hand.complete(progress)
    lost = rows_of_shard(shards[0].shard)[3]
    hand.complete(shards[0], without=[lost])
    found = run(made, "verify", job, "--certificate", str(tmp_path / "c.json"), code=1).stdout
    assert "missing" in found
    assert f"1 bar of {lost[0]} absent" in found
    assert not (tmp_path / "c.json").exists()
    assert answer(made, "verify", job, code=1)["problems"][0]["kind"] == "missing"


def test_a_job_is_paused_resumed_and_cancelled(made: World, hand: HandWorker) -> None:
    job = answer(made, "request", "bars", *WANTED)["job"]["id"]
    assert "is paused" in run(made, "pause", job, "--reason", "the vendor asks").stdout
    assert answer(made, "resume", job)["state"] in ("pending", "running")
    assert "yet to answer" in run(made, "cancel", job).stdout
    for progress in shards_of(made, job):
        hand.chunk(progress, [], ShardState.CANCELLED)
    assert answer(made, "show", job)["state"] == "cancelled"
    run(made, "watch", job, code=1)


def test_a_request_that_waits_ends_with_1_if_a_shard_fails(made: World, hand: HandWorker, tmp_path: Path) -> None:
    arguments = ["backfill", "request", "bars", *WANTED, "--wait", "--config", str(made.config)]
    waiting = Process(arguments, tmp_path / "wait.log")
    try:
        until(lambda: "job-" in waiting.output(), 60, "the request", waiting.output)
        (job,) = {word for word in waiting.output().replace(":", " ").split() if word.startswith("job-")}
        first, *others = shards_of(made, job)
        hand.chunk(first, [], ShardState.FAILED, error="the vendor is down", event=LeaseChange.FAILED)
        for progress in others:
            hand.complete(progress)
        assert waiting.wait(60) == 1, waiting.output()
    finally:
        if waiting.alive():
            waiting.kill()
    assert "is failed" in waiting.output()
    assert "the vendor is down" in run(made, "show", job).stdout


def test_ctrl_c_ends_the_watching_and_leaves_the_job(made: World, tmp_path: Path) -> None:
    job = answer(made, "request", "bars", *WANTED)["job"]["id"]
    watching = Process(["backfill", "watch", job, "--config", str(made.config)], tmp_path / "watch.log")
    try:
        until(lambda: "pending" in watching.output(), 60, "the first line of watch", watching.output)
        watching.signal(signal.SIGINT)
        assert watching.wait(30) == 130, watching.output()
    finally:
        if watching.alive():
            watching.kill()
    assert f"Stopped watching; {job} goes on" in watching.output()
    assert answer(made, "show", job)["state"] == "pending"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("plan", "bars", "--symbols", "", "--start", FROM, "--end", TO), "--symbols names no symbol"),
        (("plan", "bars", "--symbols", "@gone.txt", "--start", FROM, "--end", TO), "gone.txt: the file cannot be read"),
        (("plan", "bars", "--symbols", "A", "--start", "soon", "--end", TO), "--start soon: give a day or a moment"),
        (("plan", "none", "--symbols", "A", "--start", FROM, "--end", TO), "none"),
        (("request", "bars", "--symbols", "A", "--start", TO, "--end", FROM, "--source", "files:x"), "start"),
        (("request", "bars", "--symbols", "A", "--start", FROM, "--end", TO), "has no source"),
        (("list", "--state", "lost"), "--state lost"),
        (("show", "job-none"), "there is no job job-none"),
        (("watch", "job-none"), "there is no job job-none"),
        (("cancel", "job-none"), "there is no job job-none"),
        (("verify", "job-none"), "there is no job job-none"),
        (("verify",), "say what to verify"),
        (("verify", "--check", "gone.json"), "gone.json cannot be read"),
        (("explain", "shard-none"), "has no shard shard-none"),
    ],
)
def test_a_mistake_is_explained_without_a_trace_and_ends_with_2(
    made: World, arguments: tuple[str, ...], complaint: str
) -> None:
    assert complaint in run(made, *arguments, code=2).stderr
