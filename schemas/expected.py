"""The expected bars of a grid as numbers: how many lie before a time, and at which time each is.

They are kept as runs of bars an interval apart (a run is a session, or what a lunch break leaves of one), so a decade
of seconds takes no more room than its sessions, and thousands of times are answered at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Expected"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Bars numbered from 0 in the order of their times; numbers mean nothing to another object.

    Attributes:
        interval_ns: nanoseconds from a bar to the next of its run.
        first: int64 (runs,), time of the first bar of each run, nanoseconds since the epoch, rising.
        until: int64 (runs,), where the last bar of each run ends; not after the start of the next run.
        lead: int64 (runs,), how long before its time the first bar of each run starts; not 0 for sessions only, whose
            bar may be stamped at either of two times.
        numbers: int64 (runs + 1,), number of the first bar of each run, then the number of all bars.
    """

    interval_ns: int
    first: Ints
    until: Ints
    lead: Ints
    numbers: Ints

    @classmethod
    def of_runs(cls, interval_ns: int, first: Ints, counts: Ints, until: Ints, lead: Ints | None = None) -> Expected:
        """Return the bars of runs; `counts` has the number of bars of each, all positive."""
        numbers = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))
        return cls(interval_ns, first, until, np.zeros_like(first) if lead is None else lead, numbers)

    def __len__(self) -> int:
        return int(self.numbers[-1])

    def before(self, times: Ints) -> Ints:
        """Return how many bars are before each time, nanoseconds since the epoch."""
        if not len(self):
            return np.zeros_like(times)
        run = np.searchsorted(self.first, times, side="left") - 1
        inside = np.clip(run, 0, None)
        steps = -(-(times - self.first[inside]) // self.interval_ns)
        counts = self.numbers[inside + 1] - self.numbers[inside]
        found: Ints = np.where(run < 0, 0, self.numbers[inside] + np.minimum(steps, counts))
        return found

    def starts(self, numbers: Ints) -> Ints:
        """Return the first instant of each bar of those numbers, nanoseconds since the epoch."""
        run = self._run(numbers)
        offset = numbers - self.numbers[run]
        starts: Ints = self.first[run] + offset * self.interval_ns - np.where(offset == 0, self.lead[run], 0)
        return starts

    def ends(self, numbers: Ints) -> Ints:
        """Return the first instant after each bar of those numbers, nanoseconds since the epoch."""
        run = self._run(numbers)
        after = self.first[run] + (numbers - self.numbers[run] + 1) * self.interval_ns
        return np.where(numbers + 1 == self.numbers[run + 1], self.until[run], after)

    def aligned(self, times: Ints) -> Ints:
        """Return the times moved so that no bar is cut: within a bar to its end, or to its start if it is not before.

        Their order stays, and so does the number of bars before each.
        """
        if not len(self):
            return times
        number = self.before(times)
        ends = self.ends(np.clip(number - 1, 0, None))
        starts = self.starts(np.clip(number, None, len(self) - 1))
        moved = np.where((number > 0) & (times < ends), ends, times)
        return np.where((number < len(self)) & (moved > starts), starts, moved)

    def _run(self, numbers: Ints) -> Ints:
        run: Ints = np.searchsorted(self.numbers, numbers, side="right") - 1
        return run
