"""The window that is judged and those before it, which say what is usual; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from streams.durations import as_written

__all__ = ["Span", "usual"]

_SHARE = 90  # percent


@dataclass(frozen=True, slots=True)
class Span:
    """A window that ends now, and windows of the same length before it.

    Attributes:
        end: the end of the window: the moment of judgement, aware.
        window: its length.
        before: how many windows the baseline has, at least one.
    """

    end: datetime
    window: timedelta
    before: int

    @classmethod
    def of(cls, end: datetime, window: timedelta, baseline: timedelta) -> Span:
        """Return the window and as many before it as go into the baseline; ValueError if not even one does."""
        if baseline < window:
            raise ValueError("the baseline must be at least as long as the window that is compared with it")
        return cls(end, window, baseline // window)

    @property
    def begin(self) -> datetime:
        """The beginning of the baseline."""
        return self.end - self.window * (self.before + 1)

    @property
    def words(self) -> str:
        """The window's length, as in `1h`."""
        return as_written(self.window.total_seconds())

    def index(self, at: datetime) -> int | None:
        """Return which window a moment is in: 0 is the one that is judged, 1 the one before; None before the baseline.

        What is dated after the end counts as of the window: clocks differ by a little.
        """
        found = max(0, (self.end - at) // self.window)
        return found if found <= self.before else None

    def counts(self, moments: Iterable[datetime]) -> list[int]:
        """Return how many moments are in each window, that which is judged first."""
        found = [0] * (self.before + 1)
        for at in moments:
            index = self.index(at)
            if index is not None:
                found[index] += 1
        return found


def usual(before: Sequence[float]) -> float:
    """Return what nine of ten windows do not exceed (the 90th percentile by nearest rank); 0 of none.

    So one bad hour of yesterday does not make another one usual today.
    """
    ranked = sorted(before)
    return ranked[-(-len(ranked) * _SHARE // 100) - 1] if ranked else 0.0
