"""The examples, run as a reader would run them, against a world with history in the archive and more in Kafka."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from tests.support.archiving import Writer, archive_all, bars, make_archive_world
from tests.support.worlds import DATASET, World

pytestmark = pytest.mark.kafka

EXAMPLES = Path(__file__).parents[2] / "examples"
PNG = b"\x89PNG\r\n\x1a\n"


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


def run(name: str, world: World, *arguments: str) -> str:
    """Run an example to its end; return what it says."""
    command = [sys.executable, str(EXAMPLES / name), "--config", str(world.config), "--dataset", DATASET, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_moving_average_counts_each_bar_once_though_it_is_started_again(
    made: World, writer: Writer, tmp_path: Path
) -> None:
    rising_and_falling = [100.0 + 10 * ((n // 40) % 2) + n % 7 for n in range(200)]
    rows = [bar for n, price in enumerate(rising_and_falling) for bar in bars(["AAA"], range(n, n + 1), price)]
    writer.live(rows[:150])
    archive_all(made)
    position = tmp_path / "position.json"
    follow = ["--symbol", "AAA", "--fast", "5", "--slow", "20", "--position", str(position), "--timeout", "3"]
    follow += ["--sla", "permissive-dev"]  # of the years since there is nothing
    first = run("moving_average.py", made, *follow)
    assert "AAA buy" in first
    assert "AAA sell" in first
    assert first.splitlines()[-1] == "150 bars"
    writer.live(rows[150:])
    assert run("moving_average.py", made, *follow).splitlines()[-1] == "50 bars"


def test_the_plot_shows_a_series_with_its_holes(made: World, writer: Writer, tmp_path: Path) -> None:
    writer.live(bars(["AAA"], range(60)) + bars(["AAA"], range(80, 120)))
    archive_all(made)
    picture = tmp_path / "series.png"
    between = ["--start", "2023-11-14T22:14Z", "--end", "2023-11-15T00:14Z"]
    said = run("plot_series.py", made, "--symbol", "AAA", *between, "--output", str(picture))
    assert said.splitlines()[-1].startswith("100 bars, 0 flagged, 1 holes"), said
    assert picture.read_bytes().startswith(PNG)


def test_the_governed_producer_sends_sound_bars_and_is_refused_a_broken_one(made: World) -> None:
    said = run("produce_bars.py", made, "--symbol", "AAA", "--bars", "20")
    assert "20 bars sent\nrefused, as it should be: " in said
    assert len(made.read(made.topic("raw"))) == 20
