"""Reading the archive: by symbol and time, now and then, across versions of the contract, as others read it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from schemas.contract import load_contract
from streams.archive.fingerprint import fingerprint
from streams.archive.layout import Source
from streams.archive.pieces import pieces
from streams.archive.pruning import files_with
from streams.archive.reader import ArchiveReader, nanoseconds
from streams.archive.within import within
from streams.clock import Deadline, monotonic
from streams.errors import ArchiveError, ArchiveUnavailable, SettingsError
from tests.support.archive_tables import FakeArchive, Stored, archive_settings, wider
from tests.support.bars import START, good_bar

MINUTE_NS = 60_000_000_000
START_NS = START * 1_000


def at(minute: int) -> int:
    return START_NS + minute * MINUTE_NS


def bars(symbol: str, minutes: range, *, offset: int, as_of: int = 1_000, price: float = 100.0) -> list[Stored]:
    return [Stored(good_bar(symbol, m, price), as_of, offset + n) for n, m in enumerate(minutes)]


@pytest.fixture
def archive(tmp_path: Path) -> FakeArchive:
    return FakeArchive(archive_settings(tmp_path))


@pytest.fixture
def reader(archive: FakeArchive) -> ArchiveReader:
    return ArchiveReader(archive.settings)


def test_nothing_archived_is_no_snapshot_and_a_read_says_so(tmp_path: Path) -> None:
    reader = ArchiveReader(archive_settings(tmp_path))
    assert reader.snapshot("bars") is None
    with pytest.raises(ArchiveError, match="seamless archive run"):
        reader.read("bars")


def test_symbols_and_times_are_those_asked_for_in_order(archive: FakeArchive, reader: ArchiveReader) -> None:
    archive.add(*bars("BBB", range(10), offset=0))
    archive.add(*bars("AAA", range(10), offset=10), *bars("CCC", range(10), offset=20))
    found = reader.read("bars", ["CCC", "AAA"], at(3), at(5))
    assert found.frame["symbol"].to_list() == ["AAA", "CCC", "AAA", "CCC"]
    assert found.frame["event_time"].dt.epoch("us").to_list() == [START + m * 60_000_000 for m in (3, 3, 4, 4)]
    assert found.frame.columns == list(archive.contract.record.fields)
    assert found.frame.schema["event_time"] == pl.Datetime("us", "UTC")
    assert found.arrow().schema == archive.contract.columns
    whole = reader.read("bars", None, datetime.fromtimestamp(at(9) / 1e9, UTC))
    assert whole.frame["symbol"].to_list() == ["AAA", "BBB", "CCC"]
    assert reader.read("bars", ["ZZZ"]).frame.height == 0
    assert reader.read("bars", None, at(50), at(60)).frame.columns == whole.frame.columns


def test_a_snapshot_says_up_to_which_offsets_it_holds_everything(archive: FakeArchive, reader: ArchiveReader) -> None:
    archive.add(*bars("AAA", range(4), offset=0))
    first = reader.snapshot("bars")
    archive.add(Stored(good_bar("AAA", -1), 5, 6, "history", 1))
    second = reader.snapshot("bars")
    assert first is not None
    assert second is not None
    assert first.positions == {Source("live.normalized.bars", 0): 4}
    assert second.positions == {Source("live.normalized.bars", 0): 4, Source("live.history.bars", 1): 7}
    assert first.read().frame.height == 4
    assert second.read().frame.height == 5
    assert reader.snapshot("bars") is second, "a table that has not changed is not opened again"


def test_a_read_as_of_a_moment_is_to_the_byte_what_was_read_then(archive: FakeArchive, reader: ArchiveReader) -> None:
    archive.add(*bars("AAA", range(10), offset=0, as_of=1_000))
    then = reader.read("bars")
    archive.add(*bars("AAA", range(3, 6), offset=10, as_of=2_000, price=200.0))
    archive.add(*bars("AAA", range(10, 12), offset=13, as_of=2_000))
    now = reader.read("bars")
    again = reader.read("bars", as_of=1_999_999_999)
    assert again.fingerprint == then.fingerprint
    assert again.frame.equals(then.frame)
    assert now.fingerprint != then.fingerprint
    assert now.frame.height == 12
    assert now.frame["open"].to_list()[2:7] == [100.0, 200.0, 200.0, 200.0, 100.0]
    assert reader.read("bars", as_of=999_000_000).frame.height == 0
    assert reader.read("bars", as_of=datetime.fromtimestamp(2, UTC)).fingerprint == now.fingerprint


def test_rows_of_an_earlier_version_have_the_defaults_of_what_was_added(
    archive: FakeArchive, reader: ArchiveReader
) -> None:
    archive.add(*bars("AAA", range(3), offset=0))
    archive.adopt(wider(archive.contract), 2)
    before = reader.read("bars")
    assert before.frame["trades"].to_list() == [7, 7, 7]
    archive.add(Stored(good_bar("AAA", 3) | {"trades": 9, "note": "x"}, 1_000, 3, version=2))
    found = reader.read("bars")
    assert found.contract_version == 2
    assert found.frame["trades"].to_list() == [7, 7, 7, 9]
    assert found.frame["note"].to_list() == [None, None, None, "x"]
    assert found.arrow().schema == found.contract.columns


def test_a_column_that_the_contract_gave_up_is_not_read_and_stays_in_the_table(
    archive: FakeArchive, reader: ArchiveReader
) -> None:
    narrow = archive.contract
    archive.adopt(wider(narrow), 2)
    archive.add(Stored(good_bar("AAA", 0) | {"trades": 9, "note": None}, 1_000, 0))
    archive.adopt(narrow, 3)
    archive.add(*bars("AAA", range(1, 3), offset=1))
    assert reader.read("bars").frame.columns == list(narrow.record.fields)
    assert reader.read("bars").frame.height == 3
    kept = pl.DataFrame(DeltaTable(archive.table.url).to_pyarrow_table()).sort("_offset")
    assert kept["trades"].to_list() == [9, None, None]


def test_ticks_keep_their_nanoseconds_and_a_corrected_time_wins_over_the_border_of_a_range(tmp_path: Path) -> None:
    archive = FakeArchive(archive_settings(tmp_path, contract="trade", interval=None))
    tick = {"symbol": "A", "price": 1.0, "size": 1.0, "side": "buy", "flags": 0}
    times = [START_NS + 1, START_NS + 2, START_NS + 2]
    archive.add(*(Stored({**tick, "trade_id": str(n), "event_time": t}, 1, n) for n, t in enumerate(times)))
    archive.add(Stored({**tick, "trade_id": "0", "event_time": START_NS + 5}, 2, 3))
    reader = ArchiveReader(archive.settings)
    assert reader.read("bars", end=START_NS + 3).arrow().column("event_time").to_pylist() == times[1:]
    assert reader.read("bars", start=START_NS + 2).arrow().column("trade_id").to_pylist() == ["1", "2", "0"]
    assert reader.read("bars").frame.schema["event_time"] == pl.Datetime("ns", "UTC")


def test_files_that_cannot_hold_what_is_asked_for_are_not_read(archive: FakeArchive, reader: ArchiveReader) -> None:
    for n, symbol in enumerate(["AAA", "CCC", "EEE"]):
        archive.add(*bars(symbol, range(n * 100_000, n * 100_000 + 5), offset=n * 5, as_of=1_000 * n))
    snapshot = reader.snapshot("bars")
    assert snapshot is not None

    def left(*wanted: Any) -> int:
        return files_with(snapshot.files, snapshot.layout, *wanted).height

    assert left(None, None, None, None) == 3
    assert left(["BBB", "DDD"], None, None, None) == 0
    assert left(["CCC"], None, None, None) == 1
    assert left(["AAA", "EEE"], None, None, None) == 2
    assert left(None, at(4), at(100_001), None) == 2
    assert left(None, at(5), at(100_000), None) == 0
    assert left(None, at(4), None, None) == 3
    assert left(None, None, at(0), None) == 0
    assert left(None, None, None, 500) == 1
    assert left(["AAA"], at(0), at(1), 0) == 1


def test_duckdb_reads_the_same_rows(archive: FakeArchive, reader: ArchiveReader) -> None:
    archive.add(*bars("AAA", range(10), offset=0), *bars("BBB", range(10), offset=10))
    archive.add(*bars("AAA", range(2), offset=20, as_of=2_000, price=7.0))
    table = DeltaTable(archive.table.url).to_pyarrow_dataset()
    query = """
        select symbol, epoch_us(event_time) as time, open from table
        qualify row_number() over (partition by symbol, event_time order by _as_of desc, _topic desc, _offset desc) = 1
        order by time, symbol
    """
    theirs = duckdb.connect().register("table_", table).execute(query.replace("from table", "from table_")).fetchall()
    ours = reader.read("bars").arrow().select(["symbol", "event_time", "open"]).to_pylist()
    assert theirs == [tuple(row.values()) for row in ours]


def test_a_storage_that_hangs_costs_no_more_than_the_deadline() -> None:
    release = threading.Event()
    began = monotonic()
    with pytest.raises(ArchiveUnavailable, match=r"reading took longer than 0\.2 s"):
        within(Deadline(0.2), release.wait, "reading")
    assert monotonic() - began < 2
    release.set()
    assert within(Deadline(5), lambda: 3, "reading") == 3
    with pytest.raises(KeyError):
        within(Deadline(5), lambda: {}[1], "reading")  # type: ignore[var-annotated]


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    settings = archive_settings(tmp_path)
    DeltaTable.create(f"{tmp_path}/live/bars", load_contract("ohlcv").columns)
    with pytest.raises(ArchiveError, match="names no contract"):
        ArchiveReader(settings).snapshot("bars")


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(SettingsError, match="no time zone"):
        nanoseconds(datetime(2024, 1, 1))  # noqa: DTZ001
    assert nanoseconds(datetime(2024, 1, 1, 0, 0, 0, 5, tzinfo=UTC)) == 1_704_067_200_000_005_000


@pytest.mark.parametrize("rows", [1, 7, 30, 10_000])
def test_a_range_in_pieces_is_the_range(archive: FakeArchive, reader: ArchiveReader, rows: int) -> None:
    """Bars are dense in two places, with nothing for a year between."""
    year = 365 * 1_440
    archive.add(*bars("AAA", range(50), offset=0), *bars("BBB", range(50), offset=50))
    archive.add(*bars("AAA", range(year, year + 40), offset=100), *bars("AAA", range(5), offset=140, as_of=2_000))
    snapshot = reader.snapshot("bars")
    assert snapshot is not None
    whole = snapshot.read()
    found = list(pieces(snapshot, rows=rows))
    assert pl.concat([piece.frame for piece in found]).equals(whole.frame)
    assert all(0 < piece.frame.height <= 4 * rows for piece in found)
    assert fingerprint(whole.contract, 1, [piece.arrow() for piece in found]) == whole.fingerprint
    some = list(pieces(snapshot, ["BBB"], at(10), at(20), rows=rows))
    assert pl.concat([p.frame for p in some]).equals(snapshot.read(["BBB"], at(10), at(20)).frame)
    assert list(pieces(snapshot, None, at(100), at(200))) == []
