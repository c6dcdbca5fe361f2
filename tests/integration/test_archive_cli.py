"""`seamless archive` as a user runs it: rows in, the tables shown, merged and proven, and a broken one found out."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from operations.stack import EmbeddedStack
from streams.archive.table import DatasetTable
from tests.support.archiving import Writer, archived, bars, coordinates, make_archive_world, written_coordinates
from tests.support.processes import SEAMLESS, running
from tests.support.progress import until
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

SYMBOLS = ["AAA", "BBB", "CCC"]


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    fast = {"maintain_interval_s": 0.2, "compact_files": 3, "commit_interval_s": 0.1}
    made = make_archive_world(stack, world, tmp_path, archive=fast)
    yield made
    made.registry.close()


def seamless(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SEAMLESS), *arguments, "--config", str(world.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def as_json(world: World, *arguments: str, code: int = 0) -> Any:
    found = seamless(world, *arguments, "--json")
    assert found.returncode == code, found.stdout + found.stderr
    return json.loads(found.stdout)


def test_rows_are_archived_merged_shown_and_proven(made: World, tmp_path: Path) -> None:
    assert "Nothing is archived" in seamless(made, "archive", "info").stdout
    writer = Writer(made)
    writer.history(bars(SYMBOLS, range(-5, 0)), as_of=5)
    with running(["archive", "run", "--config", str(made.config)], tmp_path / "archiver.log") as archiver:
        for minute in range(0, 30, 6):
            writer.live(bars(SYMBOLS, range(minute, minute + 6)))
            until(lambda: coordinates(archived(made)).keys() == written_coordinates(made), 60, "the rows",
                  archiver.output)  # fmt: skip
        until(lambda: "files_compacted" in archiver.output(), 60, "a merge", archiver.output)
        archiver.signal(signal.SIGTERM)
        assert archiver.wait(30) == 0, archiver.output()
    writer.live(bars(SYMBOLS, range(30, 40)))
    ended = seamless(made, "archive", "run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    [optimized] = as_json(made, "archive", "optimize")
    assert optimized["files"] == 1
    [info] = as_json(made, "archive", "info")
    assert (info["rows"], info["files"], info["contract"]) == (135, 1, "seamless.contracts.Ohlcv")
    assert sum(1 for offset in info["positions"].values() if offset) >= 2
    shown = seamless(made, "archive", "info")
    assert "135" in shown.stdout
    proofs = as_json(made, "archive", "verify")
    assert len(proofs) == 8
    assert sum(p["rows"] for p in proofs) == sum(p["checked"] for p in proofs) == 135
    assert {p["behind"] for p in proofs} == {0}
    writer.live(bars(SYMBOLS, range(40, 41)))
    writer.close()
    assert sum(p["behind"] for p in as_json(made, "archive", "verify")) == 3
    DeltaTable(DatasetTable(made.settings, DATASET).url).delete("symbol = 'AAA' and open > 0 and _offset < 3")
    problems = [problem for p in as_json(made, "archive", "verify", code=1) for problem in p["problems"]]
    assert any("committed records are not in the table" in problem for problem in problems)
    covered = as_json(made, "coverage", DATASET)
    assert [one["symbol"] for one in covered["symbols"]] == SYMBOLS


def test_alone_it_shows_its_commands(made: World) -> None:
    shown = subprocess.run([str(SEAMLESS), "archive"], capture_output=True, text=True, timeout=60, check=False)
    for name in ("run", "info", "optimize", "verify"):
        assert name in shown.stdout + shown.stderr
