"""Normalizers that share partitions, come and go, lose offsets, and are fenced."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from operations.stack import EmbeddedStack
from streams.clients import admin_config, consumer_config, producer_config
from streams.errors import DatasetStopped
from streams.lease import LeaseToken, read_token
from streams.normalizer_job import normalizer_group
from streams.settings import Settings
from tests.support.bars import faulty_bars, good_bar
from tests.support.normalizing import Run, normalize, normalizing
from tests.support.oracle import assert_exactly_once
from tests.support.processes import running
from tests.support.progress import committed, finished, until
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

NO_LIMIT = {"max_share": 1.0}
SLOW = {"commit_interval_ms": 20, "max_batch_rows": 250}
SESSION_SECONDS = 6.0


def bars(world: World, partition: int, minutes: range) -> Iterator[tuple[int, bytes, bytes]]:
    from tests.integration.test_normalizer import codec_of

    codec = codec_of(world)
    return ((partition, b"A", codec.encode_one(good_bar("A", minute))) for minute in minutes)


def owned(run: Run) -> set[int]:
    return set(run.normalizer._owned())


def test_a_rebalance_in_the_middle_loses_and_doubles_nothing_and_a_clean_end_hands_over_at_once(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine=NO_LIMIT)
    made.produce(faulty_bars(40_000, made.raw_schema.id, seed=21))
    command = ["normalize", "--config", str(made.config)]
    with running(command, tmp_path / "first.log") as first:
        until(lambda: len(committed(made)) == 4, 60, "the first one's work", first.output)
        with running(command, tmp_path / "second.log") as second:
            until(lambda: "partitions_assigned" in second.output(), 60, "the second one's share", second.output)
            at = committed(made)
            assert first.terminate() == 0
            gone = time.monotonic()
            until(
                lambda: all(o > at[p] for p, o in committed(made).items()) or finished(made),
                60,
                "progress of every partition",
                second.output,
            )
            assert time.monotonic() - gone < SESSION_SECONDS, "the second one waited for the session to end"
            until(lambda: finished(made), 120, "the end of the work", second.output)
            assert second.terminate() == 0
    assert_exactly_once(made)


def test_more_processes_than_partitions_reach_the_end_together(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 2}, quarantine=NO_LIMIT)
    made.produce(faulty_bars(5_000, made.raw_schema.id, seed=3, partitions=1))
    runs = [Run(made, instance=f"n{n}") for n in range(3)]
    for run in runs:
        run.start(until_end=True)
    for run in runs:
        assert run.thread is not None
        run.thread.join(60)
        assert not run.alive, "one waits for rows that others have"
        assert run.error is None
    assert_exactly_once(made)


def test_two_of_one_name_double_nothing_and_one_is_stopped_with_the_remedy(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine=NO_LIMIT)
    runs = [Run(made, instance="same") for _ in range(2)]
    for run in runs:
        run.start()
    until(lambda: all(len(owned(r)) == 2 for r in runs), 60, "an even share")
    rows = faulty_bars(200_000, made.raw_schema.id, seed=8)

    def one_has_gone() -> bool:
        made.produce(islice(rows, 500))
        return not all(run.alive for run in runs)

    until(one_has_gone, 90, "the end of one of them")
    until(lambda: finished(made), 90, "the end of the work", lambda: str([r.error for r in runs]))
    for run in runs:
        run.end()
    stopped = [r.error for r in runs if r.error is not None]
    assert len(stopped) == 1, f"only one has to go: {stopped}"
    assert isinstance(stopped[0], DatasetStopped)
    assert "normalizer.instance" in str(stopped[0])
    assert_exactly_once(made)


def move_offset(world: World, partition: int, offset: int) -> None:
    group = normalizer_group(world.name, DATASET)
    admin = AdminClient(admin_config(world.settings))
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(world.topic("raw"), partition, offset)])
    admin.alter_consumer_group_offsets([wanted])[group].result(30)


def test_offsets_beyond_the_end_stop_with_an_explanation(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    made.produce(bars(made, 0, range(10)))
    normalize(made)
    move_offset(made, 0, 10**9)
    run = Run(made)
    run.start()
    until(lambda: not run.alive, 30, "the stop")
    assert isinstance(run.error, DatasetStopped)
    assert re.search(r"1000000000 .*made anew or cut off.*--accept-loss", str(run.error))


def test_lost_offsets_where_states_are_stop_with_an_explanation(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    made.produce(bars(made, 0, range(10)))
    normalize(made)
    group = normalizer_group(world, DATASET)
    admin = AdminClient(admin_config(made.settings))
    admin.delete_consumer_groups([group])[group].result(30)
    run = Run(made)
    with pytest.raises(DatasetStopped, match=r"no offset for partition 0 .*expired or were deleted.*--accept-loss"):
        run.to_end()
    assert run.value("seamless_dataset_stopped", dataset="bars") == 1
    assert len(made.read(made.topic("normalized"))) == 10
    # Beginning anew is refused by default; who accepts it has its repetitions found by the states.
    again = normalize(made, accept_loss=True)
    assert again.value("seamless_rows_dropped_total", dataset="bars") == 10
    assert len(made.read(made.topic("normalized"))) == 10


def test_rows_deleted_before_they_were_normalized_stop_with_an_explanation_unless_the_loss_is_accepted(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    made.produce(bars(made, 0, range(10)))
    normalize(made)
    made.produce(bars(made, 0, range(10, 30)))
    delete_rows_below(made, 15)
    with pytest.raises(DatasetStopped, match=r"rows 10 to 14 .*deleted by retention.*--accept-loss.*retention"):
        normalize(made)
    assert committed(made) == {0: 10}
    normalize(made, accept_loss=True)
    assert committed(made) == {0: 30}
    assert len(made.read(made.topic("normalized"))) == 25


def delete_rows_below(world: World, offset: int) -> None:
    where = TopicPartition(world.topic("raw"), 0, offset)
    admin = AdminClient(admin_config(world.settings))
    for deleted in admin.delete_records([where]).values():
        deleted.result(30)


def test_rows_deleted_under_a_working_normalizer_stop_it_with_the_same_explanation(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    made.produce(bars(made, 0, range(10)))
    with running(["normalize", "--config", str(made.config)], tmp_path / "normalizer.log") as process:
        until(lambda: committed(made) == {0: 10}, 60, "the first rows", process.output)
        process.signal(signal.SIGSTOP)
        time.sleep(0.5)  # The fault: it is away, for longer than the broker holds a request for rows.
        made.produce(bars(made, 0, range(10, 30)))
        delete_rows_below(made, 20)
        process.signal(signal.SIGCONT)
        assert process.wait(30) == 1
        assert "rows 10 to 19" in process.output()
        assert "deleted by retention" in process.output()
        assert "Traceback" not in process.output()


def test_who_stalls_until_the_group_goes_on_without_it_commits_nothing_of_what_it_holds(
    stack: EmbeddedStack, world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metadata read just before such a commit is that of no member at all, which a broker takes for no group's."""

    def impatient(settings: Settings, group: str) -> dict[str, Any]:
        return consumer_config(settings, group) | {"max.poll.interval.ms": 3_000}

    monkeypatch.setattr("streams.normalizer.consumer_config", impatient)
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1}, normalizer={"transaction_timeout_ms": 60_000})
    stalled = Run(made, instance="stalled")
    go_on = threading.Event()
    write = stalled.normalizer._output.write

    def stall(*arguments: Any) -> None:
        write(*arguments)
        assert go_on.wait(60)

    monkeypatch.setattr(stalled.normalizer._output, "write", stall)
    stalled.start()
    until(lambda: owned(stalled) == {0}, 20, "the assignment", lambda: str(stalled.error))
    made.produce(bars(made, 0, range(100)))
    with normalizing(made, instance="other") as other:
        # It reads the committed offset at once, but the states only when the stalled transaction has ended.
        until(lambda: other.normalizer._guard.partitions() == [0] or committed(made) == {0: 100}, 60, "the takeover")
        until(lambda: finished(made), 60, "the end of the work")
        go_on.set()
        until(lambda: stalled.value("seamless_transaction_aborts_total", reason="rebalance") > 0, 60, "the refusal")
        stalled.end()
    assert stalled.error is None
    assert_exactly_once(made)


# What the fencing rests on, with raw clients -------------------------------------------------------------------------


@contextmanager
def member(world: World, group: str) -> Iterator[Consumer]:
    consumer = Consumer(consumer_config(world.settings, group) | {"auto.offset.reset": "earliest"})
    consumer.subscribe([world.topic("raw")])
    try:
        yield consumer
    finally:
        consumer.close()


def poll_until(condition: Any, *consumers: Consumer) -> None:
    def one_round() -> bool:
        for consumer in consumers:
            consumer.consume(100, 0.05)
        return bool(condition())

    until(one_round, 30, "the assignment")


def partitions_of(consumer: Consumer) -> set[int]:
    return {p.partition for p in consumer.assignment()}


def commit_with(world: World, token: LeaseToken, partition: int, name: str) -> None:
    """Commit an offset in a transaction under a token; raises what the broker says."""
    producer = Producer(producer_config(world.settings, transactional_id=f"{world.name}-{name}"))
    producer.init_transactions(30)
    producer.begin_transaction()
    try:
        producer.send_offsets_to_transaction([TopicPartition(world.topic("raw"), partition, 1)], token.metadata, 10)
        producer.commit_transaction(10)
    except KafkaException:
        producer.abort_transaction(10)
        raise


def test_the_token_of_a_real_member_tells_its_group_its_id_and_its_epoch(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    with member(made, world) as consumer:
        poll_until(lambda: len(partitions_of(consumer)) == 4, consumer)
        token = read_token(consumer.consumer_group_metadata())
        assert (token.group, token.member) == (world, consumer.memberid())
        assert token.epoch > 0


def test_a_token_is_accepted_for_a_retained_partition_after_a_rebalance_and_refused_after_the_member_is_gone(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    made.produce((p, None, b"x") for p in range(4))
    with member(made, world) as first:
        poll_until(lambda: len(partitions_of(first)) == 4, first)
        before = read_token(first.consumer_group_metadata())
        with member(made, world) as second:
            poll_until(lambda: len(partitions_of(first)) == len(partitions_of(second)) == 2, first, second)
            after = read_token(first.consumer_group_metadata())
            assert after.epoch > before.epoch
            retained, moved = min(partitions_of(first)), min(partitions_of(second))
            commit_with(made, before, retained, "retained")
            commit_with(made, after, retained, "fresh")
            with pytest.raises(KafkaException) as caught:
                commit_with(made, before, moved, "moved")
            assert caught.value.args[0].name() in {"ILLEGAL_GENERATION", "STALE_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID"}
            # The hole that the capture closes: the same commit under a token that was read afresh goes through.
            commit_with(made, after, moved, "hole")
    with pytest.raises(KafkaException) as caught:
        commit_with(made, after, retained, "gone")
    assert caught.value.args[0].name() == "UNKNOWN_MEMBER_ID"


def test_a_suspended_process_whose_partitions_went_to_another_commits_nothing_when_it_wakes(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, normalizer=SLOW, quarantine=NO_LIMIT)
    made.produce(faulty_bars(60_000, made.raw_schema.id, seed=31))
    with running(["normalize", "--config", str(made.config)], tmp_path / "sleeper.log") as sleeper:
        until(lambda: len(committed(made)) == 4, 60, "the first one's work", sleeper.output)
        sleeper.signal(signal.SIGSTOP)
        with normalizing(made) as other:
            until(lambda: len(owned(other)) == 4, 60, "the takeover")
            sleeper.signal(signal.SIGCONT)
            until(lambda: finished(made), 120, "the end of the work", sleeper.output)
        assert sleeper.terminate() == 0
    assert_exactly_once(made)
