"""A worker that was put out of its group unawares: what it writes is refused, and it becomes a member again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from coordinator.epoch_probe import accepts_captured_epochs
from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.lease_events import LeaseEventWriter
from coordinator.ownership import Head, Lease, ReadFrom
from coordinator.queue_consumer import QueueConsumer, Record
from coordinator.queue_offsets import worker_group
from coordinator.records import ControlPlane
from coordinator.slot import Outcome, SlotRun
from coordinator.slot_kit import Guards, SlotKit
from coordinator.worker_orders import WorkerOrders
from operations.stack import EmbeddedStack
from streams.clock import Deadline
from streams.lease import LeaseToken
from streams.metrics import Metrics
from streams.offsets import end_offsets
from tests.support.normalizing import value_of
from tests.support.operating import bars_from, operating, sources_installed
from tests.support.processes import WITH_TEST_SOURCES, Process, metric_of, running
from tests.support.progress import until
from tests.support.working import working
from tests.support.worlds import DATASET, World, make_backfill_world

pytestmark = pytest.mark.kafka

SETTINGS = {"slots": 1, "chunk_rows": 10, "retry_base_s": 0.05, "retry_max_s": 0.1}
MINUTES = 800


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=1, backfill=SETTINGS)
    with sources_installed():
        yield made
    made.registry.close()


def has_open_transaction(world: World) -> bool:
    """Whether rows are written to the history topic that are not committed."""
    places = [TopicPartition(world.topic("history"), p) for p in range(world.settings.dataset(DATASET).partitions)]
    return end_offsets(world.settings, places, stable=True) != end_offsets(world.settings, places, stable=False)


def suspended_within_a_chunk(world: World, process: Process) -> None:
    """Suspend a worker while rows that it has sent are not committed, and nobody commits them."""

    def caught() -> bool:
        process.signal(signal.SIGSTOP)
        settled = Deadline(0.3)
        until(settled.passed, 5, "a commit that was on its way")
        if has_open_transaction(world):
            return True
        process.signal(signal.SIGCONT)
        return False

    until(caught, 60, "a chunk that is under way", process.output)


def test_a_worker_suspended_past_its_session_is_refused_and_works_on_as_a_member(made: World, tmp_path: Path) -> None:
    log = tmp_path / "zombie.log"
    with (
        running(["worker", "--config", str(made.config)], log, WITH_TEST_SOURCES) as process,
        operating(made) as operator,
    ):
        job = operator.ask(bars_from(MINUTES, batch=10), ["AAA"], MINUTES, target_rows=MINUTES)
        shard = operator.shard(operator.until_rows(job, 20)).id
        suspended_within_a_chunk(made, process)
        with working(made):
            operator.until_shard(shard, lambda s: s.attempt == 2, "the shard in other hands")
            process.signal(signal.SIGCONT)
            until(lambda: metric_of(process, "backfill_fenced_total") >= 1, 60, "a refusal", process.output)
        # The other one is gone: the zombie is a member again, and alone.
        operator.until(job, "done")
        assert operator.shard(job).attempt >= 3
        assert operator.rows() == [("AAA", minute) for minute in range(MINUTES)]
        changes = operator.changes(shard)
        assert LeaseChange.FENCED in changes
        assert changes.count(LeaseChange.COMPLETED) == 1
        assert process.terminate() == 0, process.output()


@pytest.fixture(scope="module")
def waiting(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with one shard in its queue and no worker."""
    folder = tmp_path_factory.mktemp("tokens")
    world = make_backfill_world(stack, f"tokens-{folder.parent.name[-6:]}", folder, shard_partitions=1)
    with operating(world) as operator:
        operator.ask(bars_from(50), ["AAA"], 50)
    with sources_installed():
        yield world
    world.registry.close()


def lease_of_one_who_left(world: World, plane: ControlPlane) -> Lease:
    """Return the lease of the first shard, as a member held it that is none any more."""
    records: list[Record] = []
    consumer = QueueConsumer(
        world.settings,
        worker_group(world.name),
        [plane.shards],
        name="gone",
        given=lambda places: [consumer.perform(ReadFrom(place, 0)) for place in places] and None,
        taken=lambda places, lost: None,
    )
    with closing(consumer):

        def polled() -> bool:
            records.extend(event for event in consumer.poll(0.1) if isinstance(event, Record))
            return bool(records)

        until(polled, 30, "the shard at its first owner")
        token = consumer.token()
    assert token is not None
    first = records[0]
    return Lease(first.place, 1, Head(first.offset, plane.decode_shard(first.payload), first.payload), "", token)


def no_token() -> LeaseToken:
    raise AssertionError("a lease has its own")


@pytest.mark.parametrize("captured", [True, None, False])
def test_a_refusal_tells_of_a_lost_lease_unless_the_broker_wants_the_newest_epoch_anyway(
    waiting: World, captured: bool | None
) -> None:
    plane, metrics = ControlPlane.prepare(waiting.settings, waiting.registry), Metrics(waiting.name)
    told, lease = LeaseEventWriter(waiting.settings, plane), lease_of_one_who_left(waiting, plane)
    with closing(WorkerOrders(waiting.settings, plane)) as orders:
        shared = (waiting.settings, waiting.registry, plane, metrics, orders, told)
        kit = SlotKit(*shared, host=f"gone:{captured}", guards=Guards(), fresh_token=no_token)
        kit.captured_epochs = captured
        outcomes: list[Outcome] = []
        slot = SlotRun(kit, lease, outcomes.append)
        slot.start()
        assert slot.join(30)
        told.close(10)
    assert [(outcome.refused, outcome.ended) for outcome in outcomes] == [(True, False)]
    fenced = captured is not False
    assert value_of(metrics, "backfill_fenced_total") == fenced
    assert value_of(metrics, "seamless_transaction_aborts_total", reason="rebalance") == 1
    events = [plane.decode(plane.leases, message.value() or b"") for message in waiting.read(plane.leases)]
    mine = [event.event for event in events if isinstance(event, LeaseEvent) and event.host == kit.host]
    assert mine == [LeaseChange.FENCED] * fenced
    assert waiting.read(waiting.topic("history")) == []


def test_this_broker_takes_the_epoch_of_an_older_assignment(waiting: World) -> None:
    plane = ControlPlane.prepare(waiting.settings, waiting.registry)
    assert accepts_captured_epochs(waiting.settings, plane.control, f"{waiting.name}.probe") is True
