"""Streams on real Kafka and a real table: history, then live, each row once and in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl
import pytest

from operations.stack import EmbeddedStack
from streams.errors import BrokerError, SettingsError
from streams.metrics import Metrics
from streams.provider.stream import Lag
from streams.provider.stream_merge import MergedStream
from streams.provider.stream_position import StreamPosition
from streams.sla_exceeded import SeamlessSLAExceeded
from streams.sla_policy import SLAPolicy
from tests.support.archiving import Writer, archive_all, archiving, bars, delete_before, make_archive_world
from tests.support.bars import MINUTE, START, good_bar
from tests.support.normalizing import value_of
from tests.support.progress import until
from tests.support.streaming import Kept, identities, open_stream
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

SYMBOLS = ["AAA", "BBB", "CCC", "DDD", "EEE"]
AS_OF = 1_700_000_000_000


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_archive_world(stack, world, tmp_path)
    yield made
    made.registry.close()


@pytest.fixture
def writer(made: World) -> Iterator[Writer]:
    writer = Writer(made)
    yield writer
    writer.close()


def all_of(world: World, **arguments: object) -> list[tuple[str, int]]:
    """Return the identities that a new stream gives up to the present end."""
    with open_stream(world, until_end=True, **arguments) as stream:  # type: ignore[arg-type]
        return [identity for frame in stream for identity in identities(frame)]


def expected(minutes: range, symbols: list[str] = SYMBOLS) -> set[tuple[str, int]]:
    return {(symbol, START + minute * MINUTE) for symbol in symbols for minute in minutes}


def test_history_of_the_archive_and_what_is_only_in_kafka_come_as_one_series_in_order(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(50)))
    archive_all(made)
    writer.live(bars(SYMBOLS, range(50, 80)))
    found = all_of(made)
    assert [time for _, time in found] == sorted(time for _, time in found)
    assert len(found) == len(set(found))
    assert set(found) == expected(range(80))


def test_rows_that_arrive_after_the_last_of_history_follow_it_without_a_gap(made: World, writer: Writer) -> None:
    writer.live(bars(SYMBOLS, range(10)))
    archive_all(made)
    kept = Kept()
    with open_stream(made, timeout=30) as stream:
        while len(kept.rows) < 50:
            kept.take(next(stream))
        writer.live(bars(SYMBOLS, range(10, 13)))
        while len(kept.rows) < 65:
            kept.take(next(stream))
        until(lambda: stream.poll(0.1) is None and stream.lag == Lag(0, None), 30, "the stream is at the end")
    assert set(kept.rows) == expected(range(13))


def test_a_backfill_that_is_not_archived_yet_comes_at_its_time_and_not_at_its_arrival(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(20)) + bars(SYMBOLS, range(40, 60)))
    archive_all(made)
    writer.live(bars(SYMBOLS, range(60, 70)))
    writer.history(bars(SYMBOLS, range(20, 40)), AS_OF)
    found = all_of(made)
    assert [time for _, time in found] == sorted(time for _, time in found)
    assert set(found) == expected(range(70))


def test_a_hole_that_is_filled_while_history_is_read_comes_in_order_if_its_time_is_still_to_come(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(100)) + bars(SYMBOLS, range(900, 1_000)))
    archive_all(made)
    kept = Kept()
    late: list[pl.DataFrame] = []
    with open_stream(made, until_end=True, batch_rows=50, on_late=late.append) as stream:
        kept.take(next(stream))
        writer.history(bars(SYMBOLS, range(400, 500)), AS_OF)
        writer.history(bars(["AAA"], range(-5, 0)), AS_OF)
        for frame in stream:
            kept.take(frame)
    assert set(kept.rows) == expected(range(100)) | expected(range(400, 500)) | expected(range(900, 1_000))
    assert {i for frame in late for i in identities(frame)} == expected(range(-5, 0), ["AAA"])


def test_the_archive_commits_while_a_stream_is_handed_over_and_nothing_comes_twice(made: World, writer: Writer) -> None:
    kept = Kept()
    writer.live(bars(SYMBOLS, range(30)))
    with archiving(made), open_stream(made, timeout=30, batch_rows=20) as stream:
        for minute in range(30, 60):
            writer.live(bars(SYMBOLS, range(minute, minute + 1)))
            kept.take(next(stream))
        while len(kept.rows) < 60 * len(SYMBOLS):
            kept.take(next(stream))
        assert stream.late_rows == 0
    assert set(kept.rows) == expected(range(60))


@pytest.mark.parametrize("archived", [True, False])
def test_a_reader_that_starts_again_from_its_position_gets_each_row_once(
    made: World, writer: Writer, archived: bool
) -> None:
    writer.live(bars(SYMBOLS, range(60)))
    archive_all(made)
    kept, position = Kept(), None
    for run in range(12):
        with open_stream(made, position, until_end=True, batch_rows=30, on_late=kept.take_late) as stream:
            for number, frame in enumerate(stream):
                kept.take(frame)
                if number == 2:
                    break
            position = str(stream.position)
        writer.live(bars(SYMBOLS, range(60 + 5 * run, 65 + 5 * run)))
        if archived and run % 3 == 0:
            archive_all(made)
    with open_stream(made, position, until_end=True, on_late=kept.take_late) as stream:
        for frame in stream:
            kept.take(frame)
    assert set(kept.rows) == expected(range(120))
    assert not kept.late


def test_a_position_within_a_frame_goes_on_at_the_next_row(made: World, writer: Writer) -> None:
    writer.live(bars(SYMBOLS, range(7)))
    archive_all(made)
    writer.live(bars(SYMBOLS, range(7, 11)))
    found: list[tuple[str, int]] = []
    position = None
    while True:
        with open_stream(made, position, until_end=True) as stream:
            taken = list(islice(stream.rows(), 3))
            position = str(stream.position)
        if not taken:
            break
        found += identities(taken)
    assert len(found) == len(set(found))
    assert set(found) == expected(range(11))


def test_rows_that_only_the_archive_still_has_are_given_to_a_reader_that_comes_back_late(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(10)))
    archive_all(made)
    kept = Kept()
    with open_stream(made, until_end=True) as stream:
        for frame in stream:
            kept.take(frame)
        position = str(stream.position)
    writer.live(bars(SYMBOLS, range(10, 30)))
    archive_all(made)
    for partition, offset in StreamPosition.parse(position).taken["normalized"].items():
        if offset:  # some partition holds none of these symbols
            delete_before(made, made.topic("normalized"), partition, offset + 2)
    with open_stream(made, position, until_end=True, on_late=kept.take_late) as stream:
        for frame in stream:
            kept.take(frame)
    assert set(kept.rows) == expected(range(30))
    assert not kept.late


def test_rows_that_were_deleted_before_they_were_archived_are_a_gap_that_is_named(made: World, writer: Writer) -> None:
    writer.live(bars(SYMBOLS, range(10)))
    archive_all(made)
    writer.live(bars(SYMBOLS, range(10, 30)))
    with open_stream(made, until_end=True) as stream:
        for _ in stream:
            pass
        position = stream.position
    partition, offset = max(position.taken["normalized"].items(), key=lambda item: item[1])
    delete_before(made, made.topic("normalized"), partition, offset)
    with open_stream(made, until_end=True) as stream, pytest.raises(BrokerError, match="deleted by retention before"):
        next(stream)


def test_a_topic_that_ends_before_where_it_was_read_to_is_told_from_one_whose_rows_were_deleted(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(3)))
    position = StreamPosition(dataset="bars", world=made.name, since={"normalized": {0: 1_000}})
    with (
        open_stream(made, position) as stream,
        pytest.raises(BrokerError, match="was read up to 1000: it was made anew"),
    ):
        next(stream)


def test_a_correction_replaces_what_was_not_given_yet_and_is_late_for_what_was(made: World, writer: Writer) -> None:
    writer.live(bars(["AAA"], range(10)))
    archive_all(made)
    writer.live([good_bar("AAA", 4, price=500.0)])
    kept = Kept()
    with open_stream(made, timeout=30, on_late=kept.take_late) as stream:
        while len(kept.rows) < 10:
            kept.take(next(stream))
        assert kept.rows["AAA", START + 4 * MINUTE] == 500.5
        writer.live([good_bar("AAA", 4, price=600.0), good_bar("AAA", 10)])
        kept.take(next(stream))
        until(lambda: stream.poll(0.1) is None and bool(kept.late), 30, "the correction is told of")
    assert kept.late == {("AAA", START + 4 * MINUTE): 1}
    assert set(kept.rows) == expected(range(11), ["AAA"])


def test_only_the_symbols_and_the_time_that_were_asked_for_are_given(made: World, writer: Writer) -> None:
    writer.live(bars(SYMBOLS, range(20)))
    archive_all(made)
    writer.live(bars(SYMBOLS, range(20, 30)))
    found = all_of(made, symbols=["BBB", "DDD"], start=(START + 15 * MINUTE) * 1_000)
    assert set(found) == expected(range(15, 30), ["BBB", "DDD"])


def test_without_an_archive_kafka_alone_gives_both_topics_in_the_order_of_time(made: World, writer: Writer) -> None:
    writer.live(bars(SYMBOLS, range(50, 60)))
    writer.history(bars(SYMBOLS, range(50)), AS_OF)
    found = all_of(made)
    assert [time for _, time in found] == sorted(time for _, time in found)
    assert set(found) == expected(range(60))


def test_history_is_readable_while_the_broker_is_away_and_the_stream_says_what_it_lacks(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(20)))
    archive_all(made)
    away = made.settings.model_copy(
        update={"kafka": made.settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})}
    )
    world = World(away, made.config, made.registry, made.raw_schema, made.contract_schema)
    policy, metrics = SLAPolicy(max_wait_live=0.5, on_violation="partial_fill"), Metrics(world.settings.world)
    with open_stream(world, policy=policy, timeout=2, metrics=metrics) as stream:
        kept = Kept()
        while len(kept.rows) < 20 * len(SYMBOLS):
            kept.take(next(stream))
        assert "live_wait" in stream.lacks
        assert value_of(metrics, "seamless_provider_degraded_total", what="broker", dataset=DATASET) > 0
    strict = SLAPolicy(max_wait_live=0.5)
    with open_stream(world, policy=strict) as stream, pytest.raises((SeamlessSLAExceeded, BrokerError)):
        next(stream)


def test_a_stream_that_is_closed_from_another_thread_ends_its_waiting(made: World, writer: Writer) -> None:
    writer.live(bars(["AAA"], range(3)))
    stream = open_stream(made)
    next(stream)
    waiting = threading.Thread(target=lambda: list(_quiet(stream)))
    waiting.start()
    stream.close()
    waiting.join(20)
    assert not waiting.is_alive()


def _quiet(stream: object) -> Iterator[object]:
    from streams.provider.switch import Stopped

    try:
        yield from stream  # type: ignore[misc]
    except Stopped:
        return


def test_an_asynchronous_reader_gets_the_same_rows_and_loses_none_when_its_task_is_cancelled(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(40)))
    archive_all(made)
    kept = Kept()

    async def read() -> None:
        async with open_stream(made, batch_rows=40) as stream:
            while len(kept.rows) < 40 * len(SYMBOLS):
                kept.take(await anext(stream))
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            writer.live(bars(SYMBOLS, range(40, 45)))
            while len(kept.rows) < 45 * len(SYMBOLS):
                kept.take(await asyncio.wait_for(anext(stream), 30))

    asyncio.run(read())
    assert set(kept.rows) == expected(range(45))


def test_two_streams_are_merged_in_the_order_of_event_time(made: World, writer: Writer) -> None:
    writer.live(bars(["AAA", "BBB"], range(30)))
    archive_all(made)
    writer.live(bars(["AAA", "BBB"], range(30, 50)))
    streams = {
        name: open_stream(made, symbols=[name], until_end=True, batch_rows=size)
        for name, size in (("AAA", 7), ("BBB", 11))
    }
    found: list[tuple[int, str]] = []
    with MergedStream(streams) as merged:
        for name, frame in merged:
            assert frame["symbol"].unique().to_list() == [name]
            found += [(time, symbol) for symbol, time in identities(frame)]
    assert found == sorted(found)
    assert {(symbol, time) for time, symbol in found} == expected(range(50), ["AAA", "BBB"])


def test_a_position_of_another_stream_is_refused_by_what_differs(made: World) -> None:
    position = StreamPosition(dataset="bars", world="other", symbols=("AAA",))
    with pytest.raises(SettingsError, match="whose world was other"):
        position.check(made.name, "bars", ("AAA",))
    with pytest.raises(SettingsError, match="no position of a stream"):
        StreamPosition.parse("{}")
