"""Coverage: tiles that cover the range, holes that are asked for, and what the command shows of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from coordinator.absent import expected_bars, gaps
from coordinator.ranges import Range
from schemas.grid import DAY, make_grid
from streams.archive.coverage import cover, strip
from streams.archive.covering import coverage_of
from streams.archive.reader import ArchiveReader
from streams.cli import app
from tests.support.archive_tables import FakeArchive, Stored, archive_settings
from tests.support.bars import START, good_bar
from tests.support.examples import examples

MINUTE = 60_000_000_000
GRID = make_grid(MINUTE, "24/7")
START_NS = START * 1_000


def day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


@given(st.sets(st.integers(-3, 40)), st.integers(0, 20), st.integers(0, 20), st.sampled_from([1, 7, 60]))
@examples(200)
def test_tiles_cover_the_range_and_count_what_the_oracle_counts(
    minutes: set[int], first: int, length: int, width: int
) -> None:
    start, end = first * MINUTE, (first + length) * MINUTE
    found = cover(GRID, "A", np.array([m * MINUTE for m in minutes], np.int64), start, end)
    asked = set(range(first, first + length))
    assert found.expected == len(asked) == expected_bars(GRID, start, end)
    assert found.present == len(asked & minutes)
    borders = [start, *(tile.end for tile in found.tiles)]
    assert [tile.start for tile in found.tiles] == borders[:-1]
    assert borders[-1] == (end if length else start)
    assert all(one.there != other.there for one, other in zip(found.tiles, found.tiles[1:], strict=False))
    missing = {m for r in found.missing for m in range(r.start // MINUTE, r.end // MINUTE)}
    assert missing == asked - minutes
    times = np.array([m * MINUTE for m in sorted(minutes) if start <= m * MINUTE < end], np.int64)
    assert found.expected - found.present == sum(gap.bars for gap in gaps(GRID, "A", times, start, end))
    if length:
        cells = strip(found, width)
        assert len(cells) == width
        assert (set(cells) <= {"complete"}) == (not missing)


def test_a_weekend_is_no_hole_and_a_holiday_neither() -> None:
    grid = make_grid(DAY, "XNYS")
    sessions = [day(f"2024-01-{d:02d}") for d in (2, 3, 4, 5, 8, 9, 10, 11, 12, 16, 17)]  # the 15th was a holiday
    whole = cover(grid, "A", np.array(sessions), day("2024-01-01"), day("2024-01-18"))
    assert whole.state == "complete"
    assert whole.expected == 11
    assert len(whole.tiles) == 1
    holed = cover(grid, "A", np.array([s for s in sessions if s != day("2024-01-08")]), whole.start, whole.end)
    assert holed.state == "holed"
    assert holed.expected - holed.present == 1
    [hole] = holed.missing
    assert hole.start <= day("2024-01-08") < hole.end <= day("2024-01-09")


def test_sessions_stamped_at_the_exchange_s_midnight_are_there_too() -> None:
    grid = make_grid(DAY, "XNYS")
    local = np.array([day("2024-01-02") + 5 * 3_600 * 10**9, day("2024-01-03") + 5 * 3_600 * 10**9])
    assert cover(grid, "A", local, day("2024-01-01"), day("2024-01-04")).state == "complete"


def test_a_symbol_without_rows_is_missing_and_a_range_without_bars_complete() -> None:
    nothing = np.zeros(0, np.int64)
    found = cover(GRID, "A", nothing, 0, 5 * MINUTE)
    assert (found.state, found.ratio, found.missing) == ("missing", 0.0, (Range(0, 5 * MINUTE),))
    weekend = cover(make_grid(DAY, "XNYS"), "A", nothing, day("2024-01-06"), day("2024-01-08"))
    assert (weekend.state, weekend.ratio, weekend.expected) == ("complete", 1.0, 0)


@pytest.fixture
def archive(tmp_path: Path) -> FakeArchive:
    archive = FakeArchive(archive_settings(tmp_path / "archive"))
    rows = [("AAA", range(10)), ("BBB", [*range(3), *range(6, 10)])]
    pairs = [(symbol, minute) for symbol, minutes in rows for minute in minutes]
    archive.add(*(Stored(good_bar(symbol, minute), 1, n) for n, (symbol, minute) in enumerate(pairs)))
    return archive


def test_the_archive_is_covered_symbol_by_symbol(archive: FakeArchive) -> None:
    snapshot = ArchiveReader(archive.settings).snapshot("bars")
    assert snapshot is not None
    found = list(coverage_of(archive.settings, snapshot))
    assert [(one.symbol, one.state, one.expected, one.present) for one in found] == [
        ("AAA", "complete", 10, 10), ("BBB", "holed", 10, 7),
    ]  # fmt: skip
    assert found[1].missing == (Range(START_NS + 3 * MINUTE, START_NS + 6 * MINUTE),)
    asked = list(coverage_of(archive.settings, snapshot, ["CCC", "BBB"], START_NS, START_NS + 20 * MINUTE))
    assert [(one.symbol, one.present, one.expected) for one in asked] == [("BBB", 7, 20), ("CCC", 0, 20)]


def test_ticks_are_covered_by_session(tmp_path: Path) -> None:
    settings = archive_settings(tmp_path, contract="trade", interval=None, calendar="XNYS")
    archive = FakeArchive(settings)
    tick = {"symbol": "A", "price": 1.0, "size": 1.0, "side": "buy", "flags": 0}
    times = [day(f"2024-01-0{d}") + 15 * 3_600 * 10**9 + d for d in (2, 4, 5)]
    archive.add(*(Stored({**tick, "trade_id": str(n), "event_time": t}, 1, n) for n, t in enumerate(times)))
    snapshot = ArchiveReader(settings).snapshot("bars")
    assert snapshot is not None
    [found] = coverage_of(settings, snapshot)
    assert (found.expected, found.present, found.state) == (3, 2, "holed")
    [wider] = coverage_of(settings, snapshot, None, day("2024-01-02"), day("2024-01-06"))
    assert (wider.expected, wider.present) == (4, 3)


def config_of(archive: FakeArchive, folder: Path) -> str:
    config = folder / "seamless.toml"
    config.write_text(
        f'archive.url = "{archive.settings.archive.url}"\nkafka.bootstrap_servers = "nowhere:1"\n'
        'registry.url = "http://nowhere:1"\n[datasets.bars]\ncontract = "ohlcv"\ninterval = "1m"\npartitions = 2\n'
    )
    return str(config)


def test_the_command_draws_a_strip_per_symbol(archive: FakeArchive, tmp_path: Path) -> None:
    wide = {"COLUMNS": "120"}
    shown = CliRunner().invoke(app, ["coverage", "bars", "--config", config_of(archive, tmp_path)], env=wide)
    assert shown.exit_code == 0, shown.output
    lines = {line.split()[0]: line for line in shown.output.splitlines() if line[:3] in {"AAA", "BBB"}}
    assert "█" * 60 in lines["AAA"]
    assert "100.0%" in lines["AAA"]
    assert "·" * 17 in lines["BBB"]
    assert "70.0%" in lines["BBB"]


def test_a_narrow_terminal_gets_a_shorter_strip_and_all_of_it(archive: FakeArchive, tmp_path: Path) -> None:
    narrow = {"COLUMNS": "70"}
    shown = CliRunner().invoke(app, ["coverage", "bars", "--config", config_of(archive, tmp_path)], env=narrow)
    assert "…" not in shown.output
    assert "70.0%" in shown.output


def test_the_command_gives_ranges_as_json(archive: FakeArchive, tmp_path: Path) -> None:
    arguments = ["coverage", "bars", "--symbols", "BBB,CCC", "--json", "--config", config_of(archive, tmp_path)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    first, second = json.loads(shown.output)["symbols"]
    assert (first["state"], first["ratio"], len(first["complete"])) == ("holed", 0.7, 2)
    assert first["missing"] == [{"start": "2023-11-14T22:17:00Z", "end": "2023-11-14T22:20:00Z"}]
    assert (second["symbol"], second["state"]) == ("CCC", "missing")
