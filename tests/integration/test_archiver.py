"""The archiver on real Kafka: every committed row once in the table, whatever ends or doubles a process."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from schemas.contract import load_contract
from streams import topics
from streams.archive.borders import borders_of
from streams.archive.layout import Source
from streams.archive.table import CommitRefused, DatasetTable, Move
from streams.errors import DatasetStopped
from tests.support.archiving import (
    ArchiveRun,
    Writer,
    archive_all,
    archived,
    archiving,
    bars,
    coordinates,
    delete_before,
    make_archive_world,
    written_coordinates,
)
from tests.support.progress import until
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

SYMBOLS = ["AAA", "BBB", "CCC", "DDD", "EEE"]


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


def complete(world: World) -> bool:
    found = coordinates(archived(world))
    return found.keys() == written_coordinates(world) and set(found.values()) <= {1}


def test_committed_rows_of_both_topics_are_in_the_table_once_and_aborted_ones_are_not(
    made: World, writer: Writer
) -> None:
    writer.live(bars(SYMBOLS, range(10)))
    writer.live(bars(SYMBOLS, range(10, 20)), abort=True)
    writer.history(bars(SYMBOLS, range(-20, 0)), as_of=1_700_000_000_000)
    writer.live(bars(SYMBOLS, range(10, 12)))
    run = archive_all(made)
    frame = archived(made)
    assert coordinates(frame).keys() == written_coordinates(made)
    assert set(coordinates(frame).values()) == {1}
    assert frame.height == 5 * (10 + 20 + 2)
    old = frame.filter(frame["_topic"] == "history")
    assert set(old["_as_of"]) == {1_700_000_000_000}
    assert set(frame["_contract_version"]) == {1}
    assert run.value("seamless_archive_rows_total", dataset=DATASET) == frame.height


def test_a_second_run_has_nothing_to_do_and_goes_on_where_the_first_ended(made: World, writer: Writer) -> None:
    writer.live(bars(SYMBOLS, range(5)))
    archive_all(made)
    before = DatasetTable(made.settings, DATASET).load()
    assert before is not None
    assert archive_all(made).value("seamless_archive_rows_total", dataset=DATASET) == 0
    writer.live(bars(SYMBOLS, range(5, 9)))
    assert archive_all(made).value("seamless_archive_rows_total", dataset=DATASET) == 20
    assert complete(made)


def test_two_archivers_share_the_partitions_and_hand_them_on(made: World, writer: Writer) -> None:
    first = ArchiveRun(made).start()
    writer.live(bars(SYMBOLS, range(50)))
    until(lambda: complete(made), 60, "the first archiver's work")
    with archiving(made) as second:
        until(lambda: len(second.archiver.sources) == 4, 60, "half of the partitions")
        writer.live(bars(SYMBOLS, range(50, 100)))
        writer.history(bars(SYMBOLS, range(-50, 0)), as_of=1)
        until(lambda: complete(made), 60, "the work of both")
        first.end()
        assert first.error is None
        writer.live(bars(SYMBOLS, range(100, 120)))
        until(lambda: complete(made), 60, "the second's work")
    assert coordinates(archived(made)).keys() == written_coordinates(made)


def test_of_two_that_hold_the_same_rows_one_commits_and_the_other_learns_of_it(made: World, writer: Writer) -> None:
    """The zombie: it has read rows, was suspended, and wakes up after another has archived them."""
    slow = made.settings.model_copy(
        update={"archive": made.settings.archive.model_copy(update={"commit_interval_s": 3_600.0})}
    )
    writer.live(bars(SYMBOLS, range(10)))
    zombie = ArchiveRun(made, settings=slow).start()
    until(lambda: zombie.archiver.rows_in_memory == 50, 60, "rows in the zombie's memory")
    # Another takes the same rows without asking the group, as one does that got the zombie's partitions.
    table = DatasetTable(made.settings, DATASET)
    theirs = table.load()
    assert theirs is not None
    with pytest.raises(CommitRefused):
        theirs.commit(None, {Source(made.topic("normalized"), 0): Move(7, 9)})
    borders = borders_of(made.settings, [Source(made.topic("normalized"), p) for p in range(4)], stable=True)
    theirs.commit(None, {source: Move(None, found.end) for source, found in borders.items() if found.end})
    zombie.end()
    assert zombie.error is None
    frame = archived(made)
    assert frame.height == 0, "the zombie committed what another had"
    assert zombie.value("seamless_archive_refused_commits_total", dataset=DATASET) >= 1


def test_a_table_that_is_behind_retention_stops_the_dataset_naming_the_gap(made: World, writer: Writer) -> None:
    writer.live(bars(["AAA"], range(10)))
    archive_all(made)
    writer.live(bars(["AAA"], range(10, 40)))
    partition = next(s.partition for s, o in DatasetTable(made.settings, DATASET).load().positions(  # type: ignore[union-attr]
        [Source(made.topic("normalized"), p) for p in range(4)]).items() if o > 5)  # fmt: skip
    delete_before(made, made.topic("normalized"), partition, 25)
    with pytest.raises(DatasetStopped, match=r"offsets 11 to 24 of .*were deleted by retention") as stopped:
        archive_all(made)
    assert "--accept-loss" in str(stopped.value)
    archive_all(made, accept_loss=True)
    writer.live(bars(["AAA"], range(40, 42)))
    archive_all(made)
    assert archived(made).height == 10 + (30 - 14) + 2


def test_a_record_that_is_no_row_stops_the_dataset_unless_loss_is_accepted(made: World, writer: Writer) -> None:
    writer.raw_bytes(b"\0nonsense")
    writer.live(bars(SYMBOLS, range(3)))
    with pytest.raises(DatasetStopped, match="partition 0, offset 0"):
        archive_all(made)
    archive_all(made, accept_loss=True)
    assert archived(made).height == 15


def test_a_new_column_of_the_contract_widens_the_table_and_old_rows_stay(made: World, writer: Writer) -> None:
    writer.live(bars(SYMBOLS, range(3)))
    archive_all(made)
    wider = copy.deepcopy(load_contract("ohlcv").schema)
    wider["fields"].insert(-1, {"name": "trades", "type": "long", "default": 0})
    subject = topics.subject(made.topic("normalized"))
    newer = made.registry.register(subject, wider)
    writer.live(bars(SYMBOLS, range(3, 5)))
    writer.use(newer)
    writer.live([row | {"trades": 7} for row in bars(SYMBOLS, range(5, 9))])
    archive_all(made)
    frame = archived(made).sort("event_time")
    assert complete(made)
    assert frame.filter(frame["_contract_version"] == 2)["trades"].to_list() == [7] * 20
    assert frame["trades"].null_count() <= 15
    table = DatasetTable(made.settings, DATASET).load()
    assert table is not None
    assert table.contract_version == 2
    assert "trades" in table.contract.record.fields


def test_while_the_store_is_away_rows_wait_and_then_go_in_once(made: World, writer: Writer, tmp_path: Path) -> None:
    with archiving(made) as run:
        writer.live(bars(SYMBOLS, range(5)))
        until(lambda: complete(made), 60, "the first rows")
        folder = Path(DatasetTable(made.settings, DATASET).url)
        away = tmp_path / "away"
        folder.rename(away)
        folder.touch()  # a file where a folder should be: nothing can be read or written
        writer.live(bars(SYMBOLS, range(5, 10)))
        until(lambda: run.health.report().status == "degraded", 60, "the news that the store is away")
        folder.unlink()
        away.rename(folder)
        until(lambda: complete(made), 60, "the rows that waited")
        until(lambda: run.health.report().status == "ok", 60, "health")


def test_an_idle_topic_whose_rows_retention_deleted_is_no_gap(made: World, writer: Writer) -> None:
    """What lies behind the last row is the mark of its transaction; the table must have come past it."""
    writer.live(bars(["AAA"], range(5)))
    archive_all(made)
    table = DatasetTable(made.settings, DATASET).load()
    assert table is not None
    source, position = next(iter(table.positions(
        [Source(made.topic("normalized"), p) for p in range(4)]).items()))  # fmt: skip
    assert position == 6
    delete_before(made, source.topic, source.partition, position)
    writer.live(bars(["AAA"], range(5, 7)))
    archive_all(made)
    assert archived(made).height == 7
