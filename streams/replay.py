"""The pace of a replay: which rows are due when, at a multiple of the speed at which they happened."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from streams.errors import SettingsError

__all__ = ["Replay", "parse_speed"]

Ints = npt.NDArray[np.int64]
NANOS = 1_000_000_000


def parse_speed(text: str) -> float | None:
    """Return the multiple of real time that `100x` or `0.5x` asks for, None for `max`.

    Raises:
        SettingsError: for anything else, zero included.
    """
    if text.strip().lower() == "max":
        return None
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)x", text.strip().lower())
    if match is None or float(match[1]) <= 0:
        raise SettingsError(f"--speed {text}: write a multiple of real time such as 1x, 0.5x or 100x, or max")
    return float(match[1])


class Replay:
    """Rows in event-time order, each due when its time has come.

    Args:
        times: event times, ascending, in units since the epoch.
        per_second: those units in a second.
        speed: multiple of real time; None for no pace at all.
    """

    def __init__(self, times: Ints, per_second: int, speed: float | None) -> None:
        first = times[0] if len(times) else 0
        # From the first row on, in seconds of the replay: a double holds a century of them to the microsecond.
        self._due = np.zeros(len(times)) if speed is None else (times - first) / (per_second * speed)

    def __len__(self) -> int:
        return len(self._due)

    def due(self, elapsed: float) -> int:
        """Return how many rows, from the first, are due `elapsed` seconds after the start."""
        return int(np.searchsorted(self._due, elapsed, side="right"))

    def wait(self, done: int, elapsed: float) -> float:
        """Return how many seconds are left until the row after the first `done` is due; never below zero."""
        return max(0.0, float(self._due[done]) - elapsed) if done < len(self) else 0.0
