"""Event time and how far it has come: the watermark of each partition.

Only ticks move it. An observation that is dated in the future closes no window, and a partition to which nobody writes
observations is moved on all the same, as ticks are written to every partition. Ticks are records of the log, so which
observation was late is said by the log and not by the process that happens to read it.
"""

from __future__ import annotations

__all__ = ["Watermark", "floor"]


class Watermark:
    """How far event time has come in one partition, nanoseconds since the epoch; None before the first tick.

    It never goes back: the ticks of an agent whose clock is behind change nothing.

    Args:
        grace: how long after its end a window waits for what was told within it, nanoseconds.
    """

    def __init__(self, grace: int, at: int | None = None) -> None:
        self._grace, self.at = grace, at

    def tick(self, at: int) -> bool:
        """Take a tick; return whether it moves the watermark."""
        if self.at is not None and at <= self.at:
            return False
        self.at = at
        return True

    @property
    def closed(self) -> int | None:
        """Windows that end here or before are closed; None if none is."""
        return None if self.at is None else self.at - self._grace


def floor(at: int, step: int) -> int:
    """Return the last multiple of `step` that is not after `at`."""
    return at - at % step
