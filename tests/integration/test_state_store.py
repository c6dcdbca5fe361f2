"""States are restored up to what open transactions may still commit."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from operations.stack import EmbeddedStack
from schemas.keystate import KeyRecord
from streams.clients import producer_config
from streams.clock import Deadline, monotonic
from streams.errors import BrokerError
from streams.state_store import StateStore
from tests.support.progress import until
from tests.support.worlds import World, make_world

pytestmark = pytest.mark.kafka

MICROS = 1_000_000


def store_of(world: World, time_units: int = MICROS) -> StateStore:
    codec = world.event_codec("conformance_state", "conformance_state")
    return StateStore(world.settings, world.topic("conformance_state"), codec, time_units)


def record(key: str, newest: int, partition: int = 0) -> KeyRecord:
    return KeyRecord(partition, key, newest, 1, np.array([2**63 + newest], np.uint64), np.array([1], np.uint64))


def open_producer(world: World, timeout_ms: int = 30_000) -> Producer:
    name = f"{world.name}-owner"
    producer = Producer(producer_config(world.settings, transactional_id=name, transaction_timeout_ms=timeout_ms))
    producer.init_transactions(30)
    return producer


def write(world: World, producer: Producer, *records: KeyRecord) -> None:
    """Write states in a transaction that stays open."""
    producer.begin_transaction()
    for payload, key, partition in zip(*store_of(world).encode(records), strict=True):
        producer.produce(world.topic("conformance_state"), payload, key, partition)
    assert producer.flush(30) == 0


def newest_of(records: list[KeyRecord]) -> dict[str, int]:
    return {r.key: r.newest for r in records}


def test_what_was_written_last_is_restored_and_only_for_the_partitions_asked_for(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    producer = open_producer(made)
    for newest in (1, 2, 3):
        write(made, producer, record("A", newest), record("Å é", newest), record("B", newest, partition=1))
        producer.commit_transaction(30)
    restored = store_of(made).restore([0, 2], Deadline(30))
    assert newest_of(restored) == {"A": 3, "Å é": 3}
    assert restored[0].identities.tolist() == [2**63 + 3]


def test_states_of_another_time_resolution_are_forgotten(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path)
    producer = open_producer(made)
    write(made, producer, record("A", 1))
    producer.commit_transaction(30)
    assert store_of(made, time_units=1_000).restore([0], Deadline(30)) == []


def test_a_partition_without_states_takes_no_time(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path)
    began = monotonic()
    assert store_of(made).restore([0, 1, 2, 3], Deadline(30)) == []
    assert monotonic() - began < 2


@pytest.mark.parametrize("committed", [True, False])
def test_restoring_waits_for_an_open_transaction_and_takes_what_became_of_it(
    stack: EmbeddedStack, world: str, tmp_path: Path, committed: bool
) -> None:
    made = make_world(stack, world, tmp_path)
    producer = open_producer(made)
    write(made, producer, record("A", 1))
    producer.commit_transaction(30)
    write(made, producer, record("A", 2))
    restored: list[KeyRecord] = []
    done = threading.Event()

    def restore() -> None:
        restored.extend(store_of(made).restore([0], Deadline(30)))
        done.set()

    thread = threading.Thread(target=restore)
    thread.start()
    assert not done.wait(1), "what the transaction may still commit was not waited for"
    (producer.commit_transaction if committed else producer.abort_transaction)(30)
    thread.join(30)
    assert newest_of(restored) == {"A": 2 if committed else 1}


def test_a_transaction_of_a_dead_producer_is_waited_for_until_the_broker_aborts_it(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    producer = open_producer(made, timeout_ms=2_000)
    write(made, producer, record("A", 1))
    del producer  # Dead: it never commits, aborts or comes back.
    assert store_of(made).restore([0], Deadline(30)) == []


def test_a_transaction_that_stays_open_ends_the_wait_with_an_explanation(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    producer = open_producer(made)
    write(made, producer, record("A", 1, partition=3))
    with pytest.raises(
        BrokerError, match=r"within 1 s \(partitions \[3\]\).*transaction may be open.*restore_deadline"
    ):
        store_of(made).restore([0, 3], Deadline(1))
    producer.abort_transaction(30)
    until(lambda: store_of(made).restore([3], Deadline(30)) == [], 30, "the end of the wait")
