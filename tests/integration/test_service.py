"""The coordinator service on the real stack: as a process and its replicas, and while parts of the stack are away."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from coordinator.distributed import DistributedBackfillCoordinator
from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest, Planned
from coordinator.service.server import ANSWER_S, DRAIN_S, impatient
from coordinator.shards import Job, ShardState
from coordinator.wire import Kind
from operations.testing.proxy import Proxy
from tests.support.processes import Process, running
from tests.support.progress import until
from tests.support.serving import serving
from tests.support.simulated_worker import SimulatedWorker
from tests.support.worlds import DATASET, World, make_backfill_world

pytestmark = pytest.mark.kafka

START = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOKEN = "a:token:with:colons"


@pytest.fixture
def backfill(stack: Any, world: str, tmp_path: Path) -> World:
    return make_backfill_world(
        stack, world, tmp_path, dataset={"source": "files:none"}, coordinator={"token": TOKEN, "port": 0}
    )


def hours(count: int, first: int = 0, **changes: Any) -> BackfillRequest:
    """Ask for one-minute bars of a symbol, an hour a shard."""
    begin = START + first * HOUR
    values: dict[str, Any] = {"dataset": DATASET, "symbols": ("AAA",), "start": begin, "end": begin + count * HOUR}
    return BackfillRequest(**{**values, "target_rows": 60, **changes})


def replica(backfill: World, log: Path, *options: str) -> Process:
    """Start a replica as a user does."""
    return Process(["coordinator", "--config", str(backfill.config), *options], log)


def address(process: Process) -> str:
    """Return where a replica serves, once it says so."""
    pattern = r"http://127\.0\.0\.1:\d+"
    until(lambda: "coordinator_started" in process.output() or not process.alive(), 60, "the start", process.output)
    found = re.search(pattern, process.output())
    assert found is not None, process.output()
    return found.group()


def is_ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz", timeout=10).status_code == 200


@pytest.fixture
def served(backfill: World, tmp_path: Path) -> Iterator[tuple[str, Process]]:
    with running(["coordinator", "--config", str(backfill.config)], tmp_path / "coordinator.log") as process:
        url = address(process)
        until(lambda: is_ready(url), 60, "a view that is caught up", process.output)
        yield url, process


@pytest.fixture
def http(served: tuple[str, Process]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served[0], timeout=30, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


def body(request: BackfillRequest) -> Any:
    return request.model_dump(mode="json", exclude_defaults=True)


def test_a_user_with_curl_plans_requests_looks_pauses_and_cancels(http: httpx.Client, backfill: World) -> None:
    worker = SimulatedWorker(backfill)
    planned = http.post("/v1/backfills", params={"dry_run": "true"}, json=body(hours(3)))
    assert (planned.status_code, planned.json()["queued"]) == (200, 3)
    assert http.get("/v1/backfills").json() == {"items": [], "next": None}
    assert worker.queued() == []

    created = http.post("/v1/backfills", json=body(hours(3)))
    again = http.post("/v1/backfills", json=body(hours(3)))
    assert (created.status_code, again.status_code) == (201, 200)
    job = Planned.model_validate(created.json()).job.id
    assert again.json()["job"]["id"] == job
    assert http.get(created.headers["location"]).json()["id"] == job
    assert len(worker.queued()) == 3

    page = http.get("/v1/shards", params={"job": job, "limit": 2}).json()
    rest = http.get("/v1/shards", params={"job": job, "limit": 2, "after": page["next"]}).json()
    assert len({shard["id"] for shard in page["items"] + rest["items"]}) == 3
    assert rest["next"] is None

    shard = page["items"][0]["id"]
    claimed = worker.say(shard, ShardState.RUNNING, rows=10, sequence=1)
    until(lambda: http.get("/v1/leases").json()["items"] != [], 30, "the lease")
    (lease,) = http.get("/v1/leases").json()["items"]
    assert (lease["shard"], lease["partition"], lease["stalled"]) == (shard, claimed.shard.partition, False)
    worker.say(shard, ShardState.DONE, rows=60, sequence=6)
    until(lambda: http.get("/v1/leases").json()["items"] == [], 30, "the end of the lease")
    (covered,) = http.get("/v1/coverage", params={"dataset": DATASET}).json()["items"]
    assert len(covered["complete"]) == 1
    assert f'backfill_jobs_in_progress{{world_id="{backfill.name}"}} 1.0' in http.get("/metrics").text

    assert http.post(f"/v1/backfills/{job}:pause").json()["state"] == "paused"
    assert http.post(f"/v1/backfills/{job}:resume").status_code == 200
    assert http.post(f"/v1/backfills/{job}:cancel", json={"reason": "enough"}).json()["state"] == "cancelling"


def test_what_the_coordinator_refuses_is_a_problem_that_names_the_field(http: httpx.Client) -> None:
    def kind_of(answer: httpx.Response) -> tuple[Any, Any]:
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        told = answer.json()
        assert told["status"] == answer.status_code
        return told["type"], told.get("field")

    reversed_range = {**body(hours(1)), "end": (START - HOUR).isoformat()}
    assert kind_of(http.post("/v1/backfills", json=reversed_range)) == (Kind.REJECTED.uri, "end")
    unknown = {**body(hours(1)), "dataset": "barz"}
    assert kind_of(http.post("/v1/backfills", json=unknown)) == (Kind.REJECTED.uri, "dataset")
    assert kind_of(http.get("/v1/coverage?dataset=barz")) == (Kind.REJECTED.uri, "dataset")
    for path in ("/v1/backfills/job:x:y", "/v1/shards/a:b", "/v1/shards?job=j:k", "/v1/events?job=j:k"):
        assert kind_of(http.get(path)) == (Kind.NOT_FOUND.uri, None), path
    for path in ("/v1/backfills/job:x:cancel", "/v1/shards/a:b:skip", "/v1/leases/2:release"):
        assert kind_of(http.post(path)) == (Kind.NOT_FOUND.uri, None), path


def test_sigterm_ends_streams_and_the_process_within_seconds(served: tuple[str, Process]) -> None:
    url, process = served
    with httpx.stream("GET", f"{url}/v1/events", timeout=30) as response:
        lines = response.iter_lines()
        assert next(lines) == ": listening"
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert [line for line in lines if line.startswith("data")] == []
    assert process.wait(2 * DRAIN_S) == 0, process.output()
    assert time.monotonic() - began < DRAIN_S
    assert "Traceback" not in process.output()
    assert "threads_dropped" not in process.output()


def test_a_public_address_is_refused_without_a_token(stack: Any, world: str, tmp_path: Path) -> None:
    made = make_backfill_world(stack, world, tmp_path)
    with running(
        ["coordinator", "--config", str(made.config), "--host", "0.0.0.0", "--port", "0"], tmp_path / "refused.log"
    ) as process:
        assert process.wait(60) == 2, process.output()
        said = " ".join(process.output().split())
    assert "seamless.coordinator.token" in said
    assert "Traceback" not in said


def test_a_token_is_never_in_the_log(served: tuple[str, Process], http: httpx.Client) -> None:
    http.post("/v1/backfills", json=body(hours(1)), headers={"Authorization": f"Bearer {TOKEN}x"})
    http.post("/v1/backfills", json=body(hours(1))).raise_for_status()
    assert TOKEN not in served[1].output()


def test_a_stream_tells_a_change_that_another_replica_made(http: httpx.Client, backfill: World) -> None:
    job = Planned.model_validate(http.post("/v1/backfills", json=body(hours(1))).json()).job.id
    with httpx.stream("GET", f"{http.base_url}/v1/events", params={"job": job}, timeout=30) as response:
        lines = response.iter_lines()
        assert next(lines) == ": listening"
        other = LocalBackfillCoordinator(backfill.settings)
        try:
            other.pause(job)
        finally:
            other.close()
        told = next(json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:"))
    assert (told["kind"], told["id"], told["state"]) == ("job", job, "paused")


class Switch(Proxy):
    """A balancer: sends callers to whichever replica a test says."""

    def to(self, url: str) -> None:
        """Send new callers to another replica, and break the connections there are."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self.mend()


def test_a_replica_killed_mid_request_leaves_a_whole_job_or_none_and_another_answers_the_same(
    backfill: World, tmp_path: Path
) -> None:
    worker, shards = SimulatedWorker(backfill), 200
    with ExitStack() as ends:
        survivor = replica(backfill, tmp_path / "survivor.log")
        ends.callback(survivor.kill)
        safe = address(survivor)
        until(lambda: is_ready(safe), 60, "the survivor", survivor.output)
        balancer = ends.enter_context(Switch("127.0.0.1", urlsplit(safe).port or 0))
        client = DistributedBackfillCoordinator(balancer.url, TOKEN, timeout_s=30, retries=5)
        ends.callback(client.close)
        jobs = []
        for number, delay in enumerate((0.0, 0.05, 0.1, 0.2, 0.4)):
            victim = replica(backfill, tmp_path / f"victim-{number}.log")
            ends.callback(lambda v=victim: v.alive() and v.kill())
            doomed = address(victim)
            until(lambda url=doomed: is_ready(url), 60, "the victim", victim.output)  # type: ignore[misc]
            balancer.to(doomed)
            answers: list[Planned] = []
            asked = hours(shards, first=number * shards)
            thread = threading.Thread(target=lambda r=asked, a=answers: a.append(client.request(r)))
            thread.start()
            thread.join(delay)  # where in its work the kill finds it
            victim.kill()
            balancer.to(safe)
            thread.join(60)
            (planned,) = answers
            assert planned.job.shards == shards
            assert client.request(asked).created is False
            jobs.append(planned.job.id)
        assert sorted(job.id for job in client.jobs()) == sorted(set(jobs))
    times = Counter(shard.id for shard in worker.queued())
    assert len(times) == len(jobs) * shards
    assert set(times.values()) == {1}
    written = Counter(event.id for event in worker.progress() if isinstance(event, Job))
    assert written == dict.fromkeys(jobs, 1)


def test_while_the_registry_is_away_what_is_known_is_told_and_requests_are_answered_503(
    stack: Any, backfill: World
) -> None:
    parts = urlsplit(stack.registry_url)
    with Proxy(parts.hostname or "", parts.port or 0) as way:
        registry = backfill.settings.registry.model_copy(update={"url": way.url + parts.path, "timeout": 30.0})
        settings = impatient(backfill.settings.model_copy(update={"registry": registry}))
        local = LocalBackfillCoordinator(settings, deadline_s=ANSWER_S)
        try:
            with serving(local, settings) as service, httpx.Client(base_url=service.url, timeout=30) as http:
                job = http.post("/v1/backfills", json=body(hours(2))).json()["job"]["id"]
                for outage in (way.cut, way.hang):
                    outage()
                    assert http.get(f"/v1/backfills/{job}").json()["shards"] == 2
                    assert len(http.get("/v1/shards").json()["items"]) == 2
                    assert http.get("/v1/leases").json()["items"] == []
                    assert http.get("/readyz").status_code == 200
                    began = time.monotonic()
                    refused = http.post("/v1/backfills", json=body(hours(9)))
                    assert time.monotonic() - began < settings.coordinator.timeout_s
                    assert refused.status_code == 503, refused.text
                    assert refused.json()["type"] == Kind.UNAVAILABLE.uri
                    assert "registry" in refused.json()["detail"]
                    assert "retry-after" in refused.headers
                way.mend()
                assert http.post("/v1/backfills", json=body(hours(9))).status_code == 201
        finally:
            local.close()
