"""Tumbling and hopping windows, made of panes: pieces between which no window begins or ends.

Windows begin and end at multiples of a step since the epoch; a window is as long as a whole number of steps. An
observation is folded once, into its pane, however many windows overlap there.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.sla.clock import floor
from streams.sla.fold import Fold

__all__ = ["Panes"]


class Panes:
    """The folds of one series, by the start of their pane, nanoseconds since the epoch."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._folds: dict[int, Fold] = {}

    def __len__(self) -> int:
        return len(self._folds)

    def __iter__(self) -> Iterator[tuple[int, Fold]]:
        """Yield start and fold, the earliest first."""
        return iter(sorted(self._folds.items()))

    @property
    def first(self) -> int | None:
        """Start of the earliest pane that holds something."""
        return min(self._folds, default=None)

    def end_of(self, at: int) -> int:
        """Return where the pane of a moment ends; when that is closed, what is told of the moment is late."""
        return floor(at, self._step) + self._step

    def add(self, at: int, fold: Fold) -> None:
        """Fold what was told at a moment."""
        start = floor(at, self._step)
        found = self._folds.get(start)
        if found is None:
            found = self._folds[start] = Fold()
        found.add(fold)

    def get(self, start: int) -> Fold | None:
        """Return the fold of one pane; None if it holds nothing."""
        return self._folds.get(start)

    def window(self, start: int, end: int) -> Fold:
        """Return the sum of the panes of a window."""
        total = Fold()
        for each, fold in self._folds.items():
            if start <= each < end:
                total.add(fold)
        return total

    def drop_before(self, start: int) -> None:
        """Forget the panes that begin before a moment: no window that is still to close has them."""
        for each in [each for each in self._folds if each < start]:
            del self._folds[each]
