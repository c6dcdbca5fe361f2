"""The limit on what may be quarantined: beyond it a dataset is stopped, so that it does not drain away unseen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

__all__ = ["QuarantineLimit"]


class QuarantineLimit:
    """Watches the share of quarantined rows over the latest rows of a dataset.

    Args:
        max_share: the share that may be quarantined; 1 sets no limit.
        window_rows: how many of the latest rows count. Until so many were seen nothing is judged.
    """

    def __init__(self, max_share: float, window_rows: int) -> None:
        self.max_share, self._window = max_share, window_rows
        self._batches: deque[tuple[int, int]] = deque()
        self._rows = self._quarantined = 0

    def exceeded_by(self, rows: int, quarantined: int, pending: Iterable[tuple[int, int]] = ()) -> float | None:
        """Return the share if a further batch would exceed the limit, else None; the batch is not counted yet.

        Args:
            pending: batches before this one that are not committed and so not counted either.
        """
        before = [*self._batches, *pending]
        seen = rows + sum(r for r, _ in before)
        bad = quarantined + sum(b for _, b in before)
        for old_rows, old_bad in before:
            if seen - old_rows < self._window:
                break
            seen, bad = seen - old_rows, bad - old_bad
        share = bad / seen if seen else 0.0
        return share if seen >= self._window and share > self.max_share else None

    def count(self, rows: int, quarantined: int) -> None:
        """Count a batch that was committed and forget the ones that have left the window."""
        self._batches.append((rows, quarantined))
        self._rows += rows
        self._quarantined += quarantined
        while self._batches and self._rows - self._batches[0][0] >= self._window:
            old_rows, old_bad = self._batches.popleft()
            self._rows -= old_rows
            self._quarantined -= old_bad
