"""A worker that was put out of its group unawares: what it writes is refused, and it becomes a member again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition

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
from streams.clients import reader_config
from streams.clock import Deadline
from streams.lease import LeaseToken
from streams.metrics import Metrics
from streams.transactions import TransactionAborted
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


def has_open_transaction(readers: list[Consumer], world: World) -> bool:
    """Whether rows are written to the history topic that are not committed, as two readers of either kind see it."""
    places = [TopicPartition(world.topic("history"), p) for p in range(world.settings.dataset(DATASET).partitions)]
    ends = [[reader.get_watermark_offsets(place, timeout=10)[1] for place in places] for reader in readers]
    return ends[0] != ends[1]


def suspended_within_a_chunk(world: World, process: Process) -> None:
    """Suspend a worker while rows that it has sent are not committed, and nobody commits them."""

    def caught() -> bool:
        process.signal(signal.SIGSTOP)
        settled = Deadline(0.3)
        until(settled.passed, 5, "a commit that was on its way")
        if has_open_transaction(readers, world):
            return True
        process.signal(signal.SIGCONT)
        return False

    readers = [Consumer(reader_config(world.settings, read_committed=wanted)) for wanted in (True, False)]
    try:
        until(caught, 60, "a chunk that is under way", process.output)
    finally:
        for reader in readers:
            reader.close()


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
    world = make_backfill_world(stack, f"tokens-{uuid4().hex[:8]}", folder, shard_partitions=1)
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


@dataclass
class Tried:
    """A slot that is not started, with what it tells."""

    slot: SlotRun
    kit: SlotKit
    metrics: Metrics
    outcomes: list[Outcome]
    told: LeaseEventWriter

    def fenced(self) -> float:
        return value_of(self.metrics, "backfill_fenced_total")


@contextmanager
def a_slot(world: World, lease: Callable[[World, ControlPlane], Lease], host: str) -> Iterator[Tried]:
    """Make a slot for a lease, and send its last words at the end."""
    plane, metrics = ControlPlane.prepare(world.settings, world.registry), Metrics(world.name)
    told, outcomes = LeaseEventWriter(world.settings, plane), list[Outcome]()
    with closing(WorkerOrders(world.settings, plane)) as orders:
        shared = (world.settings, world.registry, plane, metrics, orders, told)
        kit = SlotKit(*shared, host=host, guards=Guards(), fresh_token=no_token)
        yield Tried(SlotRun(kit, lease(world, plane), outcomes.append), kit, metrics, outcomes, told)
        told.close(10)


def changes_of(world: World, host: str) -> list[LeaseChange]:
    """Return what a host has told of leases."""
    plane = ControlPlane.prepare(world.settings, world.registry)
    events = [plane.decode(plane.leases, message.value() or b"") for message in world.read(plane.leases)]
    return [event.event for event in events if isinstance(event, LeaseEvent) and event.host == host]


@pytest.mark.parametrize("captured", [True, None, False])
def test_a_refusal_tells_of_a_lost_lease_unless_the_broker_wants_the_newest_epoch_anyway(
    waiting: World, captured: bool | None
) -> None:
    host = f"gone:{captured}"
    with a_slot(waiting, lease_of_one_who_left, host) as tried:
        tried.kit.captured_epochs = captured
        tried.slot.start()
        assert tried.slot.join(30)
    assert [(outcome.refused, outcome.ended) for outcome in tried.outcomes] == [(True, False)]
    fenced = captured is not False
    assert tried.fenced() == fenced
    assert value_of(tried.metrics, "seamless_transaction_aborts_total", reason="rebalance") == 1
    assert changes_of(waiting, host) == [LeaseChange.FENCED] * fenced
    assert waiting.read(waiting.topic("history")) == []


@pytest.mark.parametrize("news", ["refused lost", "lost refused", "refused revoked", "refused", "refused lost lost"])
def test_a_producer_superseded_after_a_long_transaction_was_fenced_only_if_the_lease_was_lost(
    waiting: World, news: str
) -> None:
    """A broker also supersedes the producer of a holder that is merely slow; the group says which it was."""
    host = f"slow:{news}"
    with a_slot(waiting, lease_of_one_who_left, host) as tried:
        for one in news.split():
            if one == "refused":
                late = TransactionAborted("timeout", "fenced by a newer instance", superseded=True)
                assert not tried.slot._aborted(late)
            else:
                tried.slot.stop("lost" if one == "lost" else "revoked")
    assert tried.fenced() == ("lost" in news)
    assert changes_of(waiting, host) == [LeaseChange.FENCED] * ("lost" in news)


def test_this_broker_takes_the_epoch_of_an_older_assignment(waiting: World) -> None:
    plane = ControlPlane.prepare(waiting.settings, waiting.registry)
    assert accepts_captured_epochs(waiting.settings, plane.control, f"{waiting.name}.probe") is True
