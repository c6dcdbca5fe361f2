"""How fast a job was, told by the broker's own clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sizes", "Window", "measured_window"]


@dataclass(frozen=True)
class Sizes:
    """The three parts of a backlog, in records: only the middle one is measured.

    While it is written, the program is warm, its queues are full, and they stay full until it is done:
    what was fetched before the window opened is made up for by what is fetched ahead when it closes.
    """

    warm_up: int
    measured: int
    tail: int

    @property
    def total(self) -> int:
        """Return the size of the backlog."""
        return self.warm_up + self.measured + self.tail


@dataclass(frozen=True)
class Window:
    """The part of a run that counts: `records` were appended in (started_ms, ended_ms]."""

    started_ms: int
    ended_ms: int
    records: int

    @property
    def seconds(self) -> float:
        """Return its length."""
        return (self.ended_ms - self.started_ms) / 1000.0

    @property
    def records_per_second(self) -> float:
        """Return the rate."""
        return self.records / self.seconds


def measured_window(append_ms: NDArray[np.int64], sizes: Sizes) -> Window:
    """Return the window of the measured part; `append_ms` must be sorted and as long as the backlog.

    Records of one batch share a timestamp, so the window reaches from the timestamp of the last warm-up
    record to that of the last measured one and counts what was appended between. Raises ValueError if they
    are the same.
    """
    last = sizes.warm_up + sizes.measured - 1
    started, ended = int(append_ms[sizes.warm_up - 1]), int(append_ms[last])
    if ended == started:
        raise ValueError("too few records to measure: all were appended within a millisecond")
    before, after = np.searchsorted(append_ms, [started, ended], side="right")
    return Window(started, ended, int(after - before))
