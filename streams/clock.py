"""The only module that reads the wall clock; everything else takes time as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["Deadline", "monotonic", "now", "now_ms"]


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def now_ms() -> int:
    """Return the current time in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()


class Deadline:
    """A budget of seconds that several steps share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Return whether the budget is used up."""
        return time.monotonic() >= self._end
