"""Each guard of a lease, and what happens without it: the same story twice, told by real members of a real group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from coordinator.cursor import Cursor
from coordinator.lease_event import LeaseChange
from coordinator.lease_events import LeaseEventWriter
from coordinator.lease_writer import LeaseWriter
from coordinator.openings import committed_place
from coordinator.ownership import Head, Lease, Place, ReadFrom
from coordinator.queue_consumer import QueueConsumer, Record
from coordinator.queue_offsets import worker_group
from coordinator.records import ControlPlane
from coordinator.shard_fetch import fetch_shard
from coordinator.slot_kit import Guards, SlotKit
from coordinator.worker_orders import WorkerOrders
from operations.stack import EmbeddedStack
from streams.clients import consumer_config
from streams.lease import LeaseToken
from streams.metrics import Metrics
from streams.transactions import TransactionAborted, TransactionalProducer
from tests.support.progress import until
from tests.support.working import asked, finished_job, history, job_now, source_of_bars, working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

MINUTES = 120


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=2, backfill={"chunk_rows": 10})
    yield made
    made.registry.close()


class Open:
    """A gate that lets everything pass, as for a slot that was between its look at the lease and its commit."""

    def check(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        pass


class Member:
    """A member of the workers' group that a test moves by hand."""

    def __init__(self, world: World, host: str, guards: Guards) -> None:
        self.plane = ControlPlane.prepare(world.settings, world.registry)
        self.owned: set[Place] = set()
        self.heads: dict[Place, Head] = {}
        self.consumer = QueueConsumer(
            world.settings,
            worker_group(world.name),
            [self.plane.shards, self.plane.urgent],
            name=host,
            given=self._given,
            taken=self._taken,
        )
        self._orders = WorkerOrders(world.settings, self.plane)
        self._told = LeaseEventWriter(world.settings, self.plane)
        self.kit = SlotKit(
            world.settings,
            world.registry,
            self.plane,
            Metrics(world.name),
            self._orders,
            self._told,
            host=host,
            guards=guards,
            fresh_token=self.token,
        )

    def token(self) -> LeaseToken:
        token = self.consumer.token()
        assert token is not None
        return token

    def poll(self) -> None:
        for event in self.consumer.poll(0.1):
            if isinstance(event, Record):
                self.heads.setdefault(
                    event.place, Head(event.offset, self.plane.decode_shard(event.payload), event.payload)
                )

    def lease(self, place: Place) -> Lease:
        """Return the lease of the first shard of a partition, under the token of now."""
        return Lease(place, 1, self.heads[place], "", self.token())

    def work(self, lease: Lease) -> None:
        """Do the whole shard of a lease, as a slot does."""
        shard = lease.head.shard
        assert shard is not None
        with closing(LeaseWriter(self.kit, lease)) as writer:
            writer.ready()
            writer.claim(shard, Cursor(shard.id, shard.epoch, 1, holder=self.kit.host), LeaseChange.CLAIMED, None)
            fetch_shard(self.kit, shard, writer, Open())

    def close(self) -> None:
        self.consumer.close()
        self._orders.close()
        self._told.close(1)

    def _given(self, places: list[Place]) -> None:
        self.owned |= set(places)
        for place in places:
            self.consumer.perform(ReadFrom(place, 0))

    def _taken(self, places: list[Place], lost: bool) -> None:
        self.owned -= set(places)


# The captured token --------------------------------------------------------------------------------------------------


def a_holder_commits_after_its_partition_has_moved(made: World, folder: Path, guards: Guards) -> tuple[str | None, int]:
    """A claims; its partition moves to B, which does the shard; A wakes and does it too: (refused, copies)."""
    asked(made, source_of_bars(folder, ["AAA", "BBB"], MINUTES), ["AAA", "BBB"], MINUTES, target_rows=MINUTES // 2)
    with closing(Member(made, "a:1", guards)) as a:
        shards = [Place(a.plane.shards, p) for p in range(2)]
        until(lambda: a.poll() or set(shards) <= a.heads.keys(), 30, "both partitions at A")  # type: ignore[func-returns-value]
        held = {place: a.lease(place) for place in shards}
        with closing(Member(made, "b:2", Guards())) as b:
            until(lambda: a.poll() or b.poll() or len(b.heads) == 1, 30, "a partition moves to B")  # type: ignore[func-returns-value]
            (moved,) = b.heads
            assert moved not in a.owned
            b.work(b.lease(moved))
            try:
                a.work(held[moved])
                refused = None
            except TransactionAborted as aborted:
                refused = aborted.reason
            return refused, max(Counter(history(made)).values())


def test_with_its_captured_token_a_former_holder_is_refused(made: World, tmp_path: Path) -> None:
    assert a_holder_commits_after_its_partition_has_moved(made, tmp_path, Guards()) == ("rebalance", 1)


def test_without_the_captured_token_a_former_holder_doubles_rows(made: World, tmp_path: Path) -> None:
    """The group takes fresh metadata of any live member, whatever partition it commits."""
    without = Guards(captured_token=False)
    assert a_holder_commits_after_its_partition_has_moved(made, tmp_path, without) == (None, 2)


# One transactional id per partition ----------------------------------------------------------------------------------


def a_dead_holders_offset_is_unstable(made: World, folder: Path, guards: Guards) -> bool:
    """A dies in the middle of a chunk; B takes the partition over. Return whether the broker still tells no offset."""
    asked(made, source_of_bars(folder, ["AAA"], MINUTES), ["AAA"], MINUTES)
    with closing(Member(made, "a:1", guards)) as a:
        until(lambda: a.poll() or bool(a.heads), 30, "a shard at A")  # type: ignore[func-returns-value]
        (place,) = a.heads
        lease = a.lease(place)
        dead = TransactionalProducer({**a.kit.producer_config(place), "transaction.timeout.ms": 120_000}, 30)
        dead.begin()
        dead.send(made.topic("history"), [b"half a chunk"], [b"AAA"], [0])
        offset = TopicPartition(place.queue, place.partition, lease.head.offset, "a cursor")
        assert dead._producer is not None
        dead._producer.send_offsets_to_transaction([offset], lease.token.metadata, 10)
        with closing(Member(made, "b:2", guards)) as b:
            b.kit.producers.take_over(place)
        asker = Consumer(consumer_config(made.settings, worker_group(made.name)))
        try:
            return committed_place(asker, place)[0] >= 0
        except KafkaException as error:
            return error.args[0].code() in {KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT}
        finally:
            asker.close()
            dead.close()


def test_taking_over_a_partitions_id_aborts_what_a_dead_holder_left_open(made: World, tmp_path: Path) -> None:
    assert not a_dead_holders_offset_is_unstable(made, tmp_path, Guards())


def test_with_an_id_per_process_the_next_holder_waits_for_the_transactions_timeout(made: World, tmp_path: Path) -> None:
    assert a_dead_holders_offset_is_unstable(made, tmp_path, Guards(partition_ids=False))


# The position guard --------------------------------------------------------------------------------------------------


def test_with_the_position_guard_a_record_lost_after_its_poll_is_read_again(made: World, tmp_path: Path) -> None:
    job = asked(made, source_of_bars(tmp_path, ["AAA"], MINUTES), ["AAA"], MINUTES, target_rows=15)
    with working(made, guards=Guards(lose_polled=1)):
        finished_job(made, job.id)
    assert Counter(history(made)) == Counter(("AAA", minute) for minute in range(MINUTES))


def test_without_the_position_guard_a_lost_record_is_a_shard_that_nobody_fetches(made: World, tmp_path: Path) -> None:
    """Its offset is passed by its successor's commit, clean and without an error anywhere."""
    job = asked(made, source_of_bars(tmp_path, ["AAA"], MINUTES), ["AAA"], MINUTES, target_rows=15)
    assert job.shards == 8
    with working(made, guards=Guards(positions=False, lose_polled=1)):
        until(lambda: job_now(made, job.id).shards_by_state.get("done") == 6, 60, "all that can be done")
    assert len(history(made)) == MINUTES - 30
    with working(made):  # with all guards again: the offsets say that there is nothing left to do
        one_more = asked(made, source_of_bars(tmp_path, ["ZZZ"], 10, name="z.parquet"), ["ZZZ"], 10)
        finished_job(made, one_more.id)
    assert job_now(made, job.id).shards_by_state == {"done": 6, "pending": 2}
