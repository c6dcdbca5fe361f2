"""Maintenance: files merge until they are large, rows stay what they were, and readers never break."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from streams.archive.compaction import File, choose_merges, files_of
from streams.archive.maintenance import maintain
from streams.archive.reader import ArchiveReader
from streams.archive.rewriting import merge_files, tidy
from streams.archive.table import CommitRefused
from tests.support.archive_tables import FakeArchive, Stored, archive_settings, wider
from tests.support.bars import good_bar
from tests.support.examples import examples

KB, MB = 1024, 1024 * 1024
DAY = date(2024, 1, 1)


def file(name: int, size: int, *, rows: int = 100, period: date = DAY) -> File:
    return File(period, size, f"f{name}", rows)


def test_files_of_like_size_are_merged_once_there_are_enough_of_them() -> None:
    small = [file(n, 20 * KB) for n in range(7)]
    assert choose_merges(small, 64 * MB, 8) == []
    [merge] = choose_merges([*small, file(7, 30 * KB), file(8, 40 * MB)], 64 * MB, 8)
    assert {f.path for f in merge.files} == {f"f{n}" for n in range(8)}


def test_periods_are_never_mixed_and_what_has_grown_is_left_alone() -> None:
    other = date(2024, 2, 1)
    files = [file(n, KB, period=DAY if n % 2 else other) for n in range(8)] + [file(n, 60 * MB) for n in range(8, 20)]
    assert choose_merges(files, 64 * MB, 8) == []
    assert {m.period for m in choose_merges(files, 64 * MB, 4)} == {DAY, other}


def test_a_thorough_merge_takes_all_that_fits_together() -> None:
    files = [file(1, KB), file(2, 10 * MB), file(3, 30 * MB), file(4, 30 * MB), file(5, 63 * MB)]
    [merge] = choose_merges(files, 64 * MB, 8, thorough=True)
    assert [f.path for f in merge.files] == ["f1", "f2", "f3"]


@given(st.lists(st.integers(1, 80 * MB), max_size=60), st.booleans())
@examples(100)
def test_no_file_is_in_two_merges_and_no_merge_is_too_large(sizes: list[int], thorough: bool) -> None:
    merges = choose_merges([file(n, size) for n, size in enumerate(sizes)], 64 * MB, 4, thorough=thorough)
    paths = [f.path for m in merges for f in m.files]
    assert len(paths) == len(set(paths))
    for merge in merges:
        assert len(merge.files) >= (2 if thorough else 4)
        assert merge.size <= 64 * MB


def test_merging_goes_on_until_there_is_nothing_to_merge_and_each_row_is_rewritten_few_times() -> None:
    """A month of commits, one every ten seconds of a session."""
    files: list[File] = []
    written = made = 0
    for n in range(10_000):
        files.append(file(n, 10 * KB, rows=10))
        for merge in choose_merges(files, 64 * MB, 8):
            gone = set(merge.files)
            made += 1
            written += merge.size
            files = [f for f in files if f not in gone]
            files.append(File(DAY, merge.size, f"m{made}", sum(f.rows for f in merge.files)))
    assert len(files) < 60
    assert written < 8 * sum(f.size for f in files)


@pytest.fixture
def archive(tmp_path: Path) -> FakeArchive:
    archive = FakeArchive(archive_settings(tmp_path))
    for n in range(10):
        rows = [(symbol, minute) for minute in range(n * 5, n * 5 + 5) for symbol in ("BBB", "AAA")]
        archive.add(*(Stored(good_bar(s, m), 1_000 + n, n * 10 + i) for i, (s, m) in enumerate(rows)))
    return archive


def test_a_merged_table_has_the_same_rows_sorted_in_one_file(archive: FakeArchive) -> None:
    before = ArchiveReader(archive.settings).read("bars")
    raw = pl.DataFrame(DeltaTable(archive.table.url).to_pyarrow_table()).sort("_offset")
    done = maintain(archive.settings, archive.table, tidy=False)
    assert (done.merges, done.merged, done.files) == (1, 10, 1)
    reader = ArchiveReader(archive.settings)
    snapshot = reader.snapshot("bars")
    assert snapshot is not None
    assert snapshot.read().fingerprint == before.fingerprint
    after = DeltaTable(archive.table.url)
    assert pl.DataFrame(after.to_pyarrow_table()).sort("_offset").equals(raw)
    [path] = after.file_uris()
    rows = pl.read_parquet(path)
    assert rows.equals(rows.sort("symbol", "event_time"))
    assert pq.ParquetFile(path).schema_arrow.field("event_time").type == archive.layout.schema.field("event_time").type
    found = duckdb.connect().register("t", after.to_pyarrow_dataset()).execute("select count(*), max(open) from t")
    assert found.fetchone() == (100, 100.0)
    assert snapshot.files["min.symbol"].to_list() == ["AAA"]
    assert snapshot.files["num_records"].to_list() == [100]
    assert snapshot.positions == {next(iter(snapshot.positions)): 100}


def test_of_two_merges_of_the_same_files_one_is_refused(archive: FakeArchive) -> None:
    """Delta itself would take both, and each row would be there twice."""
    one, other = archive.table.load(), archive.table.load()
    assert one is not None
    assert other is not None
    [period] = {f.period for f in files_of(one.files(), "_month")}
    paths = [f.path for f in files_of(one.files(), "_month")]
    merge_files(one, period, paths)
    with pytest.raises(CommitRefused):
        merge_files(other, period, paths)
    assert DeltaTable(archive.table.url).to_pyarrow_table().num_rows == 100


def test_rows_are_appended_beside_a_merge(archive: FakeArchive) -> None:
    maintain(archive.settings, archive.table, tidy=False)
    archive.add(Stored(good_bar("AAA", 99), 1, 100))  # from the version before the merge
    assert ArchiveReader(archive.settings).read("bars").frame.height == 101


def test_a_snapshot_goes_on_reading_while_its_files_are_merged(archive: FakeArchive) -> None:
    snapshot = ArchiveReader(archive.settings).snapshot("bars")
    assert snapshot is not None
    before, stop, seen = snapshot.read().fingerprint, threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(snapshot.read().fingerprint)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        maintain(archive.settings, archive.table, thorough=True)
        for n in range(10):
            archive.add(Stored(good_bar("CCC", n), 1, 100 + n))
        maintain(archive.settings, archive.table, thorough=True)
    finally:
        stop.set()
        thread.join(30)
    seen.append(snapshot.read().fingerprint)
    assert set(seen) == {before}


def test_what_was_replaced_long_ago_and_what_a_dead_process_left_is_deleted(
    archive: FakeArchive, tmp_path: Path
) -> None:
    orphan = Path(archive.table.url) / "_month=2023-11-01" / "part-orphan.parquet"
    orphan.write_bytes(b"half")
    done = maintain(archive.settings, archive.table)
    assert done.dropped == 0, "a reader may still use them"
    snapshot = archive.table.load()
    assert snapshot is not None
    assert tidy(snapshot, 0) == 11
    assert not orphan.exists()
    assert ArchiveReader(archive.settings).read("bars").frame.height == 100


def test_a_column_of_some_files_only_survives_a_merge(archive: FakeArchive) -> None:
    archive.adopt(wider(archive.contract), 2)
    archive.add(Stored(good_bar("AAA", 99) | {"trades": 9, "note": "x"}, 1, 100))
    before = ArchiveReader(archive.settings).read("bars")
    assert maintain(archive.settings, archive.table, thorough=True).files == 1
    after = ArchiveReader(archive.settings).read("bars")
    assert after.frame.equals(before.frame)
    assert after.frame["trades"].to_list()[-1] == 9
