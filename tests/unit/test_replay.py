"""The pace of a replay."""

from __future__ import annotations

import numpy as np
import pytest

from streams.errors import SettingsError
from streams.replay import Replay, parse_speed

MINUTES = np.array([0, 60, 120, 180], np.int64) * 1_000_000


def test_no_row_is_due_before_its_time_and_every_row_is_at_it() -> None:
    replay = Replay(MINUTES, 1_000_000, speed=60)
    assert [replay.due(t) for t in (0.0, 0.99, 1.0, 2.5, 3.0, 99.0)] == [1, 1, 2, 3, 4, 4]


def test_the_wait_is_until_the_next_row_and_never_negative() -> None:
    replay = Replay(MINUTES, 1_000_000, speed=60)
    assert replay.wait(1, 0.25) == pytest.approx(0.75)
    assert replay.wait(1, 5.0) == 0.0
    assert replay.wait(4, 0.0) == 0.0


def test_rows_of_one_moment_are_due_together() -> None:
    assert Replay(np.array([5, 5, 5], np.int64), 1, speed=1).due(0.0) == 3


def test_without_a_pace_everything_is_due_at_once() -> None:
    assert Replay(MINUTES, 1_000_000, None).due(0.0) == 4


def test_nothing_is_due_of_no_rows() -> None:
    assert Replay(np.zeros(0, np.int64), 1, 1.0).due(10.0) == 0


@pytest.mark.parametrize(("text", "speed"), [("100x", 100.0), ("0.5x", 0.5), ("1X", 1.0), ("max", None)])
def test_a_speed_is_a_multiple_or_max(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0x", "fast", "-1x", "100", "x", "nanx", ""])
def test_other_speeds_are_refused_with_the_form(text: str) -> None:
    with pytest.raises(SettingsError, match="100x, or max"):
        parse_speed(text)
