"""Plans are written whole or not at all, and never twice, however many coordinators write at once or die doing so."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from coordinator.feed import Feed
from coordinator.ledger import Ledger
from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest, Planned
from coordinator.records import Event
from coordinator.shards import Job, Progress
from streams.clients import producer_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.transactions import TransactionalProducer
from tests.support.backfills import job_of, shard_of
from tests.support.simulated_worker import SimulatedWorker
from tests.support.worlds import DATASET, World, make_backfill_world

pytestmark = pytest.mark.kafka

START = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
COORDINATORS = 3
ROUNDS = 4


@pytest.fixture
def backfill(stack: Any, world: str, tmp_path: Path) -> World:
    return make_backfill_world(stack, world, tmp_path, dataset={"source": "files:none"})


def bars(first: int, after: int, symbol: str = "AAA") -> BackfillRequest:
    """Ask for one-minute bars of some hours, an hour a shard."""
    return BackfillRequest(
        dataset=DATASET, symbols=(symbol,), start=START + first * HOUR, end=START + after * HOUR, target_rows=60
    )


def race(world: World, requests: Callable[[int, int], BackfillRequest]) -> list[list[Planned]]:
    """Let coordinators request at the same moment, round by round; `requests` is given round and coordinator."""
    answers: list[list[Planned]] = [[] for _ in range(ROUNDS)]
    start = threading.Barrier(COORDINATORS)
    failures: list[BaseException] = []

    def work(number: int, coordinator: LocalBackfillCoordinator) -> None:
        try:
            for turn in range(ROUNDS):
                start.wait(60)
                answers[turn].append(coordinator.request(requests(turn, number)))
        except BaseException as error:
            failures.append(error)
            start.abort()

    with ExitStack() as opened:
        threads = []
        for number in range(COORDINATORS):
            coordinator = LocalBackfillCoordinator(world.settings)
            opened.callback(coordinator.close)
            coordinator.jobs()  # connected, so that they race in what matters
            threads.append(threading.Thread(target=work, args=(number, coordinator), daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(200)
        assert not failures, failures
        assert not any(thread.is_alive() for thread in threads)
    return answers


def test_coordinators_that_race_for_one_request_make_one_job(backfill: World) -> None:
    for answers in race(backfill, lambda turn, _: bars(0, 4, f"SYM{turn}")):
        assert len({a.job.id for a in answers}) == 1
        assert sorted((a.created, a.queued) for a in answers) == [(False, 0)] * (COORDINATORS - 1) + [(True, 4)]
    worker = SimulatedWorker(backfill)
    assert max(Counter(s.id for s in worker.queued()).values()) == 1
    assert len(worker.queued()) == 4 * ROUNDS
    assert len(worker.progress()) == 5 * ROUNDS


def test_coordinators_that_race_for_overlapping_requests_plan_no_piece_twice(backfill: World) -> None:
    answers = race(backfill, lambda turn, number: bars(2 * number, 2 * number + 4, f"SYM{turn}"))
    worker = SimulatedWorker(backfill)
    for turn in range(ROUNDS):
        assert all(a.created and a.job.shards == 4 for a in answers[turn])
        ranges = sorted((s.start, s.end) for s in worker.queued() if s.symbols == (f"SYM{turn}",))
        assert all(one[1] == other[0] for one, other in pairwise(ranges)), "the pieces tile the range"
        assert len(ranges) == 2 * (COORDINATORS - 1) + 4
        assert sum(a.queued for a in answers[turn]) == len(ranges)


def test_a_coordinator_that_decided_on_an_old_view_decides_again(backfill: World) -> None:
    """The other writes between this one's decision and its commit: the broker must refuse, not only luck."""
    other = LocalBackfillCoordinator(backfill.settings)
    worker = SimulatedWorker(backfill)
    feed = Feed(backfill.settings, worker.plane)
    ledger = Ledger(backfill.settings, worker.plane, feed)
    seen: list[int] = []

    def decide(feed: Feed) -> tuple[int, list[Event]]:
        with feed.reading() as view:
            seen.append(len(view.jobs()))
        if len(seen) == 1:
            other.request(bars(0, 4))
        return seen[-1], [job_of("job-a", created_at=seen[-1])]

    try:
        assert ledger.write(decide) == 1
    finally:
        ledger.close()
        feed.close()
        other.close()
    assert seen == [0, 1]
    assert [e.created_at for e in worker.progress() if isinstance(e, Job) and e.id == "job-a"] == [1]


# Makes a request, and kills itself with SIGKILL at the point named by its last argument.
CRASHING = """
import os, signal, sys
from datetime import datetime, timedelta
from pathlib import Path
from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest
from streams.settings import load_settings
from streams.transactions import TransactionalProducer

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

point, send, commit = sys.argv[2], TransactionalProducer.send, TransactionalProducer.commit

def sending(self, topic, *rest):
    send(self, topic, *rest)
    self._producer.flush(30)
    if topic.endswith(point):
        die()

def committing(self, *rest):
    commit(self, *rest)
    die()

if point == "committed":
    TransactionalProducer.commit = committing
elif point == "begun":
    TransactionalProducer.send = die
else:
    TransactionalProducer.send = sending

start = datetime.fromisoformat(sys.argv[3])
coordinator = LocalBackfillCoordinator(load_settings(Path(sys.argv[1]), env={}))
coordinator.request(BackfillRequest(
    dataset="bars", symbols=("AAA",), start=start, end=start + timedelta(hours=8), target_rows=60))
"""


def crashed(backfill: World, point: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CRASHING, str(backfill.config), point, START.isoformat()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("point", ["begun", "backfill.progress", "backfill.shards", "committed"])
def test_a_coordinator_that_is_killed_leaves_a_whole_job_or_none(backfill: World, point: str) -> None:
    ended = crashed(backfill, point)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    survivor = LocalBackfillCoordinator(backfill.settings)
    try:
        left = survivor.jobs()  # also while the transaction of the dead one is open
        deadline = Deadline(15)
        again = survivor.request(bars(0, 8))
        assert not deadline.passed(), "the dead one's transaction was waited for instead of ended"
        assert len(left) == (1 if point == "committed" else 0)
        assert (again.created, again.queued) == ((False, 0) if point == "committed" else (True, 8))
        assert (again.job.shards, again.job.epoch) == (8, 1)
    finally:
        survivor.close()
    worker = SimulatedWorker(backfill)
    assert sorted(Counter(s.id for s in worker.queued()).values()) == [1] * 8
    assert sum(isinstance(e, Progress) for e in worker.progress()) == 8


def test_a_replica_that_has_written_before_ends_what_another_left_open_that_died_since(backfill: World) -> None:
    survivor = LocalBackfillCoordinator(backfill.settings)
    try:
        survivor.request(bars(20, 21))
        ended = crashed(backfill, "backfill.progress")
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        deadline = Deadline(15)
        made = survivor.request(bars(0, 8))
        assert not deadline.passed(), "the dead one's transaction was waited for instead of ended"
        assert (made.created, made.queued, made.job.epoch) == (True, 8, 1)
    finally:
        survivor.close()
    assert sorted(Counter(s.id for s in SimulatedWorker(backfill).queued()).values()) == [1] * 9


def test_a_write_ends_in_time_while_a_transaction_of_somebody_else_stays_open(backfill: World) -> None:
    """Readers cannot pass an open transaction; who would write has to, and says what keeps it."""
    worker = SimulatedWorker(backfill)
    feed = Feed(backfill.settings, worker.plane)
    ledger = Ledger(backfill.settings, worker.plane, feed, deadline_s=4)
    config = producer_config(
        backfill.settings, transactional_id=f"{backfill.name}.holder", transaction_timeout_ms=60_000
    )
    holder = TransactionalProducer(config, 30)
    try:
        holder.begin()
        record = worker.plane.encode(Progress(shard_of("a")))
        holder.send(record.topic, [record.payload], [record.key], [record.partition])
        assert holder._producer is not None
        holder._producer.flush(30)
        with pytest.raises(BrokerError, match="transaction may be open"):
            ledger.write(lambda _: (None, [job_of("job-a")]))
        feed.current(Deadline(10))  # reading goes on
    finally:
        holder.close()
        ledger.close()
        feed.close()
    assert worker.progress() == []
