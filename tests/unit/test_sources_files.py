"""Files as a source: whatever the vendor called its columns and however it wrote times, in order, and resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pytest

from coordinator.source import SourceBatch, SourceContext, SourceError, open_source, source_names
from coordinator.sources.files import FileSource, open_files
from coordinator.sources.tables import open_table
from schemas.contract import load_contract
from schemas.mapping import map_columns
from streams.registry import Registry
from streams.settings import Settings, load_settings
from tests.support.bars import MINUTE, START, good_bar
from tests.support.webfiles import web_folder

CONTRACT = load_contract("ohlcv")
NS = 1_000


def context(zone: str = "UTC") -> SourceContext:
    settings: Settings = load_settings(
        env={},
        overrides={
            "world": "paper",
            "kafka": {"bootstrap_servers": "localhost:1"},
            "registry": {"url": "http://localhost:1"},
            "datasets": {"bars": {"contract": "ohlcv", "interval": "1m", "timezone": zone}},
        },
    )
    return SourceContext(settings, "bars", settings.dataset("bars"), CONTRACT, cast("Registry", None))


def rows_of(batches: list[SourceBatch], zone: str = "UTC") -> list[tuple[str, int, float]]:
    """Return (symbol, minute, close) of each row as the contract reads it."""
    found = []
    for batch in batches:
        mapped = map_columns(CONTRACT, batch.rows, batch.schema, zone).batch.to_pylist()
        found += [(r["symbol"], (r["event_time"] - START) // MINUTE, r["close"]) for r in mapped]
    return found


def fetch(source: Any, first: int, end: int, *symbols: str, cursor: str | None = None) -> list[SourceBatch]:
    span = (START + first * MINUTE) * NS, (START + end * MINUTE) * NS
    return list(source.fetch(symbols or ("A",), *span, cursor))


def frame(*bars: dict[str, Any], **columns: pl.Expr) -> pl.DataFrame:
    return pl.DataFrame(list(bars)).drop("flags").with_columns(**columns)


def utc(column: str = "event_time") -> pl.Expr:
    return pl.from_epoch(column, "us").dt.replace_time_zone("UTC")


def test_parquet_rows_of_the_symbols_and_times_come_in_the_order_of_time_and_symbol(tmp_path: Path) -> None:
    bars = [good_bar(s, m, price=100.0 + m) for s in "CAB" for m in (3, 1, 2, 0)]
    frame(*bars, event_time=utc()).write_parquet(tmp_path / "bars.parquet")
    source = open_files(str(tmp_path / "bars.parquet"), context())
    found = rows_of(fetch(source, 1, 3, "A", "B", "ABSENT"))
    assert found == [("A", 1, 101.5), ("B", 1, 101.5), ("A", 2, 102.5), ("B", 2, 102.5)]
    assert source.estimate(("A", "B"), (START + MINUTE) * NS, (START + 3 * MINUTE) * NS) == 4


TIMES: dict[str, Callable[[], pl.Expr]] = {
    "datetime of UTC": utc,
    "datetime of another zone": lambda: utc().dt.convert_time_zone("Asia/Tokyo"),
    "nanoseconds": lambda: utc().dt.cast_time_unit("ns"),
    "microseconds as a number": lambda: pl.col("event_time"),
    "milliseconds as a number": lambda: pl.col("event_time") // 1_000,
    "seconds as a fraction": lambda: pl.col("event_time") / 1e6,
    "text": lambda: utc().dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "text of digits": lambda: (pl.col("event_time") // 1_000_000).cast(pl.String),
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_times_are_found_however_they_are_written(tmp_path: Path, kind: str, suffix: str) -> None:
    bars = [good_bar("A", m) for m in range(6)]
    table = frame(*bars, event_time=TIMES[kind]()).rename({"symbol": "Ticker", "event_time": "Date", "close": "Close"})
    path = tmp_path / f"bars.{suffix}"
    table.write_parquet(path) if suffix == "parquet" else table.write_csv(path)
    source = open_files(str(path), context())
    assert rows_of(fetch(source, 2, 5)) == [("A", m, 100.5) for m in (2, 3, 4)]
    assert source.estimate(("A",), (START + 2 * MINUTE) * NS, (START + 5 * MINUTE) * NS) == 3


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_local_times_are_those_of_the_datasets_zone(tmp_path: Path, suffix: str) -> None:
    local = utc().dt.convert_time_zone("America/New_York").dt.replace_time_zone(None)
    table = frame(*(good_bar("A", m) for m in range(400)), event_time=local)
    path = tmp_path / f"bars.{suffix}"
    table.write_parquet(path) if suffix == "parquet" else table.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")
    source = open_files(str(path), context("America/New_York"))
    found = rows_of(fetch(source, 5, 8), "America/New_York")
    assert [minute for _, minute, _ in found] == [5, 6, 7]


def test_dates_are_the_midnights_of_the_datasets_zone(tmp_path: Path) -> None:
    days = [date(2024, 1, d) for d in (2, 3, 4)]
    bars = [{**good_bar("A", 0), "event_time": day} for day in days]
    pl.DataFrame(bars).drop("flags").write_parquet(tmp_path / "days.parquet")
    source = open_files(str(tmp_path / "days.parquet"), context("America/New_York"))
    start, end = (int(datetime(2024, 1, d, 5, tzinfo=UTC).timestamp()) * 10**9 for d in (3, 4))
    batches = list(source.fetch(("A",), start, end, None))
    assert [b.rows.column("event_time").to_pylist() for b in batches] == [[date(2024, 1, 3)]]


def test_a_symbol_of_digits_stays_the_text_that_it_is(tmp_path: Path) -> None:
    frame(good_bar("007", 0), good_bar("7", 0)).write_csv(tmp_path / "bars.csv")
    source = open_files(str(tmp_path / "bars.csv"), context())
    assert [s for s, _, _ in rows_of(fetch(source, 0, 1, "007"))] == ["007"]


def test_a_column_of_whole_numbers_keeps_the_fraction_of_its_last_row(tmp_path: Path) -> None:
    rows = [f"A,{START + m * MINUTE},100,101,99,100,{'7' if m < 2_000 else '7.5'}" for m in range(2_001)]
    (tmp_path / "bars.csv").write_text("\n".join(["symbol,ts,open,high,low,close,volume", *rows]))
    (batch,) = fetch(open_files(str(tmp_path / "bars.csv"), context()), 1_999, 2_001)
    assert batch.rows.column("volume").to_pylist() == [7.0, 7.5]


def test_a_glob_reads_files_with_columns_of_their_own_as_one(tmp_path: Path) -> None:
    frame(good_bar("A", 1), event_time=utc()).write_parquet(tmp_path / "b.parquet")
    frame(good_bar("A", 0), event_time=utc(), extra=pl.lit(1)).write_parquet(tmp_path / "a.parquet")
    source = open_files(str(tmp_path / "*.parquet"), context())
    assert [m for _, m, _ in rows_of(fetch(source, 0, 9))] == [0, 1]


def test_a_brackets_name_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    frame(good_bar("A", 0), event_time=utc()).write_parquet(tmp_path / "bars[1].parquet")
    source = open_files(str(tmp_path / "bars[1].parquet"), context())
    assert len(rows_of(fetch(source, 0, 9))) == 1


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """3,000 bars in three files, most of them in two bursts, and two hundred of them at the same instant."""
    bars = [good_bar("A", m) for m in (*range(900), *range(100_000, 100_900))]
    bars += [good_bar("B", m) for m in range(0, 100_000, 100)]
    bars += [good_bar("A", 50_000, price=100.0 + i) for i in range(200)]
    table = frame(*bars, event_time=utc()).sample(fraction=1.0, shuffle=True, seed=4)
    for part in range(3):
        table.slice(part * 1_000, 1_000).write_parquet(tmp_path / f"part{part}.parquet")
    return tmp_path


def pieces(folder: Path) -> FileSource:
    table = open_table(str(folder / "*.parquet"), CONTRACT, "UTC")
    return FileSource(table, window_rows=150, batch_rows=40)


def test_a_range_of_any_length_is_read_in_windows_and_comes_in_order(long: Path) -> None:
    whole = rows_of(fetch(open_files(str(long / "*.parquet"), context()), 0, 200_000, "A", "B"))
    batches = fetch(pieces(long), 0, 200_000, "A", "B")
    assert max(b.rows.num_rows for b in batches) == 40
    assert rows_of(batches) == whole
    assert len(whole) == 3_000
    assert [(m, s) for s, m, _ in whole] == sorted((m, s) for s, m, _ in whole)


def test_every_cursor_goes_on_with_exactly_the_rows_that_are_left(long: Path) -> None:
    batches = fetch(pieces(long), 0, 200_000, "A", "B")
    for place in range(0, len(batches), 7):
        rest = fetch(pieces(long), 0, 200_000, "A", "B", cursor=batches[place].cursor)
        assert [(b.cursor, b.rows) for b in rest] == [(b.cursor, b.rows) for b in batches[place + 1 :]]
    assert all(len(b.cursor) <= 2_000 and b.cursor.isascii() for b in batches)


def test_files_that_were_changed_since_the_cursor_are_refused(long: Path) -> None:
    cursor = fetch(pieces(long), 0, 200_000, "A", "B")[0].cursor
    os.utime(long / "part1.parquet", ns=(1, 1))
    with pytest.raises(SourceError, match="the files were changed") as caught:
        fetch(pieces(long), 0, 200_000, "A", "B", cursor=cursor)
    assert not caught.value.retryable


def test_a_cursor_of_another_source_is_refused(long: Path) -> None:
    with pytest.raises(SourceError, match="is no cursor of it"):
        fetch(pieces(long), 0, 9, cursor=json.dumps({"symbol": 0}))


def test_rows_without_a_readable_time_belong_to_no_range(tmp_path: Path) -> None:
    table = pl.DataFrame([good_bar("A", m) for m in range(3)]).drop("flags")
    table = table.with_columns(event_time=pl.Series(["soon", None, "2023-11-14 22:14:00"]))
    table.write_parquet(tmp_path / "bars.parquet")
    source = open_files(str(tmp_path / "bars.parquet"), context())
    assert len(rows_of(fetch(source, -1_000, 1_000))) == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.parquet", "there is no such file"),
        ("none-*.csv", "no file matches"),
        ("bars.xlsx", "ends in .parquet or .csv"),
        ("folder", "ends in .parquet or .csv"),
        ("broken.parquet", "broken.parquet: cannot be read"),
        ("nameless.csv", r"no column event_time \(or ts, .*It has Symbol, close, high, low, open, when"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_for_good(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "nameless.csv").write_text("Symbol,when,open,high,low,close\nA,1,1,1,1,1\n")
    with pytest.raises(SourceError, match=reason) as caught:
        open_files(str(tmp_path / name), context())
    assert not caught.value.retryable


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_file_at_a_url_is_read_like_a_local_one_and_told_from_another(tmp_path: Path, suffix: str) -> None:
    def write(minutes: int) -> None:
        table = frame(*(good_bar("A", m) for m in range(minutes)), event_time=utc())
        path = tmp_path / f"bars.{suffix}"
        table.write_parquet(path) if suffix == "parquet" else table.write_csv(path)

    with web_folder(tmp_path) as url:
        write(5)
        batches = fetch(open_files(f"{url}/bars.{suffix}", context()), 1, 4)
        assert [m for _, m, _ in rows_of(batches)] == [1, 2, 3]
        again = open_files(f"{url}/bars.{suffix}", context())
        assert fetch(again, 1, 4, cursor=batches[-1].cursor) == []
        write(6)
        changed = open_files(f"{url}/bars.{suffix}", context())
        with pytest.raises(SourceError, match="the files were changed"):
            fetch(changed, 1, 4, cursor=batches[-1].cursor)
        with pytest.raises(SourceError, match="cannot be read"):
            open_files(f"{url}/none.{suffix}", context())


def test_a_file_that_vanishes_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    frame(good_bar("A", 0)).write_csv(path)
    source = open_files(str(path), context())
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        fetch(source, 0, 9)


def test_the_shipped_sources_are_installed() -> None:
    assert {"files", "raw", "ccxt"} <= set(source_names())


def test_a_scheme_that_nobody_installed_is_refused_with_those_there_are() -> None:
    with pytest.raises(SourceError, match=r"no scheme that is installed \(.*files.*\)") as caught:
        open_source("ftp:bars", context())
    assert not caught.value.retryable


def test_a_source_of_somebody_elses_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "night_bars-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: night-bars\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[seamless.sources]\nnight = night_bars:open_night\n")
    (tmp_path / "night_bars.py").write_text(
        "import pyarrow as pa\n"
        "from coordinator.source import SourceBatch\n"
        "class Night:\n"
        "    def __init__(self, rest): self.rest = rest\n"
        "    def estimate(self, symbols, start, end): return 1\n"
        "    def fetch(self, symbols, start, end, cursor):\n"
        "        yield SourceBatch(pa.RecordBatch.from_pydict({'symbol': [self.rest]}), '1')\n"
        "    def close(self): pass\n"
        "def open_night(rest, context): return Night(rest)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "night" in source_names()
    source = open_source("night:of:bars", context())
    (batch,) = source.fetch(("A",), 0, 1, None)
    assert batch.rows == pa.RecordBatch.from_pydict({"symbol": ["of:bars"]})
