"""What every coordinator promises, whichever it is; workers are simulated by the records that they would write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.distributed import DistributedBackfillCoordinator
from coordinator.local import LocalBackfillCoordinator
from coordinator.orders import OrderKind
from coordinator.protocol import (
    BackfillCoordinator,
    BackfillRejected,
    BackfillRequest,
    CoordinatorUnavailable,
    NotFound,
    ProgressEvent,
)
from coordinator.shards import Progress, ShardState
from streams.clock import Deadline
from streams.settings import Settings
from tests.support.progress import until
from tests.support.serving import serving
from tests.support.simulated_worker import SimulatedWorker
from tests.support.worlds import DATASET, World, make_backfill_world

pytestmark = pytest.mark.kafka

S = ShardState
START = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECONDS = 30.0
TOKEN = "a:token"

Open = Callable[[Settings], BackfillCoordinator]


@pytest.fixture
def backfill(stack: Any, world: str, tmp_path: Path) -> World:
    return make_backfill_world(stack, world, tmp_path, dataset={"source": "files:none"})


@pytest.fixture(params=["local", "distributed"])
def open_one(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Make coordinators of a kind; they end with the test."""
    with ExitStack() as opened:

        def local(settings: Settings) -> BackfillCoordinator:
            made = LocalBackfillCoordinator(settings, deadline_s=20)
            opened.callback(made.close)
            return made

        def distributed(settings: Settings) -> BackfillCoordinator:
            service = opened.enter_context(serving(local(settings), settings, token=TOKEN, heartbeat_s=1.0))
            made = DistributedBackfillCoordinator(service.url, TOKEN, timeout_s=30, retries=1)
            opened.callback(made.close)
            return made

        yield {"local": local, "distributed": distributed}[request.param]


@pytest.fixture
def coordinator(open_one: Open, backfill: World) -> BackfillCoordinator:
    return open_one(backfill.settings)


@pytest.fixture
def worker(backfill: World) -> SimulatedWorker:
    return SimulatedWorker(backfill)


def hours(count: int = 4, **changes: Any) -> BackfillRequest:
    """Ask for one-minute bars of a symbol, an hour a shard."""
    values: dict[str, Any] = {"dataset": DATASET, "symbols": ("AAA",), "start": START, "end": START + count * HOUR}
    return BackfillRequest(**{**values, "target_rows": 60, **changes})


def shards_of(coordinator: BackfillCoordinator, job: str) -> list[str]:
    """Return the ids of a job's shards by time."""
    return [s.id for s in sorted(coordinator.shards(job=job, limit=1_000).items, key=lambda s: s.start)]


def test_a_request_queues_every_shard_once_and_a_plan_writes_nothing(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    planned = coordinator.plan(hours(requested_by="me"))
    assert (planned.created, planned.queued, len(planned.shards)) == (True, 4, 4)
    assert coordinator.jobs() == []
    assert not worker.queued()
    assert not worker.progress()

    made = coordinator.request(hours(requested_by="me"))
    assert (made.created, made.queued, made.reason) == (True, 4, None)
    assert made.job.id == planned.job.id
    assert (made.job.state, made.job.ratio, made.job.requested_by) == ("pending", 0.0, "me")
    assert made.job.shards_by_state == {S.PENDING: 4}
    queued = worker.queued()
    assert sorted(s.id for s in queued) == sorted(shards_of(coordinator, made.job.id))
    assert len(worker.progress()) == 5
    assert {(s.start, s.end) for s in coordinator.shards().items} == {
        (START + n * HOUR, START + (n + 1) * HOUR) for n in range(4)
    }


def test_the_same_request_again_changes_nothing(
    open_one: Open, backfill: World, coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    made = coordinator.request(hours())
    for other in (coordinator, open_one(backfill.settings)):
        again = other.request(hours())
        assert (again.created, again.queued) == (False, 0)
        assert again.reason
        assert again.job == made.job
    assert len(worker.queued()) == 4
    assert len(worker.progress()) == 5


def test_an_overlapping_request_queues_only_the_rest(coordinator: BackfillCoordinator, worker: SimulatedWorker) -> None:
    one = coordinator.request(hours(4))
    two = coordinator.request(hours(6))
    assert (two.created, two.queued, two.job.shards) == (True, 2, 6)
    assert set(shards_of(coordinator, one.job.id)) < set(shards_of(coordinator, two.job.id))
    worker.say(shards_of(coordinator, one.job.id)[0], S.DONE, rows=60)
    until(lambda: coordinator.job(two.job.id).ratio == 1 / 6, SECONDS, "the other job counts the shard")
    assert coordinator.job(one.job.id).ratio == 1 / 4


def test_urgent_shards_stand_in_a_queue_of_their_own(coordinator: BackfillCoordinator, worker: SimulatedWorker) -> None:
    coordinator.request(hours(urgent=True))
    assert worker.queued() == []
    assert len(worker.queued(urgent=True)) == 4


def test_progress_shows_in_leases_job_and_coverage_until_all_is_done(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    job = coordinator.request(hours(2)).job.id
    first, second = shards_of(coordinator, job)
    assert coordinator.leases() == []
    claimed = worker.say(first, S.RUNNING, rows=10, sequence=1, cursor="here", started_at=1)
    until(lambda: len(coordinator.leases()) == 1, SECONDS, "the lease")
    (lease,) = coordinator.leases()
    assert (lease.partition, lease.shard, lease.job) == (claimed.shard.partition, first, job)
    assert (lease.member, lease.host, lease.epoch, lease.attempt) == ("member-1", "here:1", 4, 1)
    assert (lease.rows, lease.cursor, lease.stalled) == (10, "here", False)
    assert lease.queue == worker.plane.shards
    assert lease.seconds_since_progress < SECONDS
    assert coordinator.leases(stalled=True) == []
    assert coordinator.job(job).state == "running"

    worker.say(first, S.DONE, rows=60, sequence=6)
    until(lambda: coordinator.job(job).ratio == 0.5, SECONDS, "half of it")
    assert coordinator.leases() == []
    (covered,) = coordinator.coverage(DATASET)
    assert [(r.start, r.end) for r in covered.complete] == [(START, START + HOUR)]
    assert [(r.start, r.end) for r in covered.running] == [(START + HOUR, START + 2 * HOUR)]

    worker.say(second, S.DONE, rows=60, sequence=6)
    until(lambda: coordinator.job(job).state == "done", SECONDS, "all of it")
    done = coordinator.job(job)
    assert (done.ratio, done.rows, done.shards_by_state) == (1.0, 120, {S.DONE: 2})
    assert [j.id for j in coordinator.jobs(dataset=DATASET, state="done")] == [job]
    assert coordinator.jobs(state="running") == []
    assert coordinator.coverage(DATASET, symbols=("BBB",))[0].complete == ()


def test_a_lease_whose_holder_is_silent_is_stalled(open_one: Open, backfill: World, worker: SimulatedWorker) -> None:
    coordinator = open_one(backfill.settings)
    job = coordinator.request(hours(1)).job.id
    (shard,) = shards_of(coordinator, job)
    worker.say(shard, S.RUNNING, at=worker.newest(shard).as_of - 3_600_000)
    until(lambda: len(coordinator.leases(stalled=True)) == 1, SECONDS, "the stalled lease")
    assert coordinator.leases(stalled=False) == []


def test_pages_of_shards_follow_each_other(coordinator: BackfillCoordinator) -> None:
    job = coordinator.request(hours(25)).job.id
    found: list[str] = []
    after: str | None = None
    while True:
        page = coordinator.shards(job=job, limit=10, after=after)
        found += [s.id for s in page.items]
        after = page.next
        if after is None:
            break
    assert found == sorted(found)
    assert len(set(found)) == len(found) == 25
    assert coordinator.shards(job=job, state=S.DONE).items == ()
    assert len(coordinator.shards(state=S.PENDING, limit=1_000).items) == 25


def test_a_cancelled_job_is_cancelled_when_its_workers_have_said_so(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    job = coordinator.request(hours(2)).job.id
    first, second = shards_of(coordinator, job)
    worker.say(first, S.DONE, rows=60)
    assert coordinator.cancel(job, reason="wrong symbol").state == "cancelling"
    assert coordinator.cancel(job).state == "cancelling"
    (order,) = worker.orders()
    assert (order.target, order.order, order.epoch, order.reason) == (job, OrderKind.CANCEL, 1, "wrong symbol")
    assert order.by
    worker.say(second, S.CANCELLED, cursor="there")
    until(lambda: coordinator.job(job).state == "cancelled", SECONDS, "the end of the job")
    with pytest.raises(BackfillRejected):
        coordinator.resume(job)

    again = coordinator.request(hours(2))
    assert (again.created, again.queued, again.job.epoch, again.job.state) == (False, 1, 2, "running")
    queued = worker.newest(second)
    assert (queued.epoch, queued.job_epoch, queued.cursor) == (2, 2, "there")


def test_a_paused_job_goes_on_from_its_cursors(coordinator: BackfillCoordinator, worker: SimulatedWorker) -> None:
    job = coordinator.request(hours(2)).job.id
    first, _ = shards_of(coordinator, job)
    assert coordinator.pause(job).state == "paused"
    assert coordinator.pause(job).state == "paused"
    worker.say(first, S.PARKED, sequence=3, rows=30, cursor="there")
    until(lambda: coordinator.shard(first).state is S.PARKED, SECONDS, "the parking")
    assert coordinator.resume(job).state in ("pending", "running")
    assert coordinator.resume(job).state in ("pending", "running")
    assert [o.order for o in worker.orders()] == [OrderKind.PAUSE, OrderKind.RESUME]
    assert len(worker.queued()) == 3
    queued = worker.newest(first)
    assert (queued.epoch, queued.cursor) == (2, "there")


def test_a_shard_that_was_parked_after_its_job_went_on_is_queued_again(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    job = coordinator.request(hours(1)).job.id
    (shard,) = shards_of(coordinator, job)
    coordinator.pause(job)
    coordinator.resume(job)
    worker.say(shard, S.PARKED, cursor="there")  # it had not heard yet
    until(lambda: len(worker.queued()) == 2, SECONDS, "the mending")
    assert worker.newest(shard).cursor == "there"
    until(lambda: coordinator.job(job).state == "pending", SECONDS, "the job waits in the queue")


def test_a_failed_shard_fails_the_job_and_can_be_tried_again(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    job = coordinator.request(hours(1)).job.id
    (shard,) = shards_of(coordinator, job)
    with pytest.raises(BackfillRejected) as refusal:
        coordinator.retry(shard)
    assert refusal.value.field == "shard"
    worker.say(shard, S.FAILED, attempt=5, error="the vendor is gone", cursor="there")
    until(lambda: coordinator.job(job).state == "failed", SECONDS, "the failure")
    assert coordinator.shard(shard).error == "the vendor is gone"
    retried = coordinator.retry(shard)
    assert (retried.state, retried.epoch, retried.attempt, retried.error) == (S.PENDING, 2, 0, None)
    assert worker.newest(shard).cursor == "there"
    assert coordinator.job(job).state == "pending"


def test_a_shard_is_skipped_by_an_order_and_its_job_stays_incomplete(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    job = coordinator.request(hours(2)).job.id
    first, second = shards_of(coordinator, job)
    assert coordinator.skip(first, reason="no such day").state is S.PENDING
    coordinator.skip(first)
    (order,) = worker.orders()
    assert (order.target, order.order, order.epoch, order.reason) == (first, OrderKind.SKIP, 1, "no such day")
    worker.say(first, S.SKIPPED)
    worker.say(second, S.DONE)
    until(lambda: coordinator.job(job).state == "incomplete", SECONDS, "the end of the job")
    with pytest.raises(BackfillRejected) as refusal:
        coordinator.skip(second)
    assert refusal.value.field == "shard"


def test_a_release_names_the_claim_that_is_to_end(coordinator: BackfillCoordinator, worker: SimulatedWorker) -> None:
    job = coordinator.request(hours(1)).job.id
    (shard,) = shards_of(coordinator, job)
    partition = worker.newest(shard).partition
    with pytest.raises(NotFound):
        coordinator.release(partition)
    worker.say(shard, S.RUNNING, attempt=2)
    until(lambda: len(coordinator.leases()) == 1, SECONDS, "the lease")
    released = coordinator.release(partition, reason="stuck")
    assert (released.shard, released.attempt) == (shard, 2)
    with pytest.raises(NotFound):
        coordinator.release(partition, urgent=True)
    (order,) = worker.orders()
    assert (order.target, order.order, order.epoch, order.attempt) == (shard, OrderKind.RELEASE, 1, 2)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": "other"}, "dataset"),
        ({"start": START, "end": START - HOUR}, "end"),
        ({"start": START, "end": START}, "end"),
        ({"end": datetime(2999, 1, 1, tzinfo=UTC)}, "end"),
        ({"as_of": datetime(2999, 1, 1, tzinfo=UTC)}, "as_of"),
        ({"symbols": (" ",)}, "symbols"),
    ],
)
def test_a_request_that_makes_no_sense_is_rejected_and_the_field_named(
    coordinator: BackfillCoordinator, changes: dict[str, Any], field: str
) -> None:
    for ask in (coordinator.plan, coordinator.request):
        with pytest.raises(BackfillRejected) as refusal:
            ask(hours(**changes))
        assert refusal.value.field == field
        assert str(refusal.value)
    assert coordinator.jobs() == []


def test_a_dataset_without_a_source_needs_one_in_the_request(
    open_one: Open, stack: Any, world: str, tmp_path: Path
) -> None:
    coordinator = open_one(make_backfill_world(stack, world, tmp_path).settings)
    with pytest.raises(BackfillRejected) as refusal:
        coordinator.request(hours())
    assert refusal.value.field == "source"
    assert coordinator.request(hours(source="files:none")).queued == 4


def test_a_job_of_too_many_shards_is_rejected_as_a_whole(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    with pytest.raises(BackfillRejected) as refusal:
        coordinator.request(hours(24 * 40, target_rows=1))
    assert refusal.value.field == "target_rows"
    assert not worker.queued()
    assert not worker.progress()


def test_what_is_not_there_is_not_found(coordinator: BackfillCoordinator) -> None:
    for ask in (coordinator.job, coordinator.cancel, coordinator.pause, coordinator.resume):
        with pytest.raises(NotFound):
            ask("job-x")
    with pytest.raises(NotFound):
        next(coordinator.watch("job-x"))
    for ask_shard in (coordinator.shard, coordinator.skip, coordinator.retry):
        with pytest.raises(NotFound):
            ask_shard("shard-x")
    with pytest.raises(NotFound):
        coordinator.shards(job="job-x")


def test_a_limit_out_of_bounds_is_rejected(coordinator: BackfillCoordinator) -> None:
    for limit in (0, 1_001):
        with pytest.raises(BackfillRejected) as refusal:
            coordinator.shards(limit=limit)
        assert refusal.value.field == "limit"


def test_who_watches_hears_of_shards_and_of_the_job_until_it_stops(
    coordinator: BackfillCoordinator, worker: SimulatedWorker
) -> None:
    job = coordinator.request(hours(1)).job.id
    (shard,) = shards_of(coordinator, job)
    heard: list[ProgressEvent] = []
    watch = coordinator.watch(job)
    listener = threading.Thread(target=listen, args=(watch, heard), daemon=True)
    listener.start()
    sequence = 0

    def running() -> bool:
        nonlocal sequence
        sequence += 1  # again and again, as the watch may begin late
        worker.say(shard, S.RUNNING, sequence=sequence, rows=sequence)
        return any(e.kind == "shard" and e.state == "running" for e in heard)

    until(running, SECONDS, "news of the shard")
    worker.say(shard, S.DONE, sequence=sequence + 1, rows=60)
    until(lambda: any(e.kind == "job" and e.state == "done" for e in heard), SECONDS, "news of the job")
    (told,) = [e for e in heard if e.kind == "shard" and e.state == "done"]
    assert (told.id, told.job, told.rows, told.host) == (shard, job, 60, "here:1")
    close = getattr(watch, "close", None)
    assert close is not None
    close()
    until(lambda: not listener.is_alive(), SECONDS, "the end of the watch")


def listen(watch: Iterator[ProgressEvent], heard: list[ProgressEvent]) -> None:
    for event in watch:
        heard.append(event)  # noqa: PERF402 - each is to be seen at once


def test_every_coordinator_sees_at_once_what_another_wrote(open_one: Open, backfill: World) -> None:
    one, other = open_one(backfill.settings), open_one(backfill.settings)
    assert other.jobs() == []
    for number in range(1, 6):
        job = one.request(hours(number)).job.id
        assert other.job(job).id == job


def test_a_coordinator_without_kafka_says_so_and_never_that_there_is_nothing(backfill: World) -> None:
    dead = backfill.settings.model_copy(
        update={"kafka": backfill.settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})}
    )
    coordinator = LocalBackfillCoordinator(dead, backfill.registry, deadline_s=2)
    deadline = Deadline(25)
    try:
        for ask in (coordinator.jobs, coordinator.leases, lambda: coordinator.request(hours()), coordinator.watch):
            with pytest.raises(CoordinatorUnavailable):
                ask()
    finally:
        coordinator.close()
    assert not deadline.passed()


def test_records_that_cannot_be_read_stop_nobody(coordinator: BackfillCoordinator, worker: SimulatedWorker) -> None:
    job = coordinator.request(hours(1)).job.id
    (shard,) = shards_of(coordinator, job)
    good = worker.plane.encode(Progress(worker.newest(shard), S.RUNNING, 1, at=1))
    for payload in (b"", b"rubbish", good.payload[:-3]):
        worker.write(good._replace(payload=payload, key=b"x"))
    worker.write(good._replace(payload=None, key=b"y"))  # type: ignore[arg-type]
    worker.write(good)
    until(lambda: coordinator.shard(shard).state is S.RUNNING, SECONDS, "the record behind the others")
