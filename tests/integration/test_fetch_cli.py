"""`seamless fetch` as a user runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from operations.stack import EmbeddedStack
from streams.archive.reader import ArchiveReader
from tests.support.archiving import Writer, archive_all, bars, make_archive_world
from tests.support.processes import SEAMLESS
from tests.support.working import minute
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_archive_world(stack, world, tmp_path)
    writer = Writer(made)
    writer.live(bars(["AAA", "BBB"], range(10)))
    archive_all(made)
    writer.live(bars(["AAA"], range(10, 20)))
    writer.close()
    yield made
    made.registry.close()


def seamless(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    times = ["--start", minute(0).isoformat(), "--end", minute(20).isoformat()]
    command = [str(SEAMLESS), "fetch", DATASET, *times, *arguments, "--config", str(world.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_rows_are_fetched_shown_and_written(made: World, tmp_path: Path) -> None:
    output = tmp_path / "rows.parquet"
    found = seamless(made, "--sla", "permissive-dev", "--output", str(output), "--json")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert (told["rows"], told["ratio"], told["partial"]) == (30, 0.75, False)
    assert [(hole["symbol"], hole["why"]) for hole in told["missing"]] == [("BBB", "no_source")]
    assert [(one["symbol"], one["present"]) for one in told["symbols"]] == [("AAA", 20), ("BBB", 10)]
    assert pl.read_parquet(output).height == 30
    archive_all(made)
    later = ArchiveReader(made.settings).read(DATASET, None, minute(0), minute(20))
    assert told["fingerprint"] == later.fingerprint
    shown = " ".join(seamless(made, "--symbols", "BBB", "--sla", "permissive-dev").stdout.split())
    assert "10 rows, 50.00% there" in shown
    assert "the dataset has no source to fetch it from" in shown


def test_a_promise_that_is_broken_is_an_error_without_a_trace(made: World) -> None:
    found = seamless(made, "--symbols", "AAA,BBB")
    assert found.returncode == 2
    assert "75.00% of what was asked for is there, and min_coverage is 99.00%" in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--output", "rows.txt"], "ends in .parquet or .csv"),
        (["--output", "nowhere/rows.csv"], "make it first"),
        (["--sla", "best"], "best"),
        (["--as-of", "2999-01-01"], "as_of is in the future"),
    ],
)
def test_mistakes_are_told_before_anything_is_fetched(made: World, arguments: list[str], says: str) -> None:
    found = seamless(made, *arguments)
    assert found.returncode == 2
    assert says in " ".join(found.stderr.split())
