"""Pauses between attempts: they double, with jitter, so that many workers do not come back at the same moment."""

from __future__ import annotations

import random

__all__ = ["Backoff"]

# Whoever asks for a longer pause is not believed: the shard would hold its partition, and look alive, for days.
_LONGEST_ASKED_S = 3_600.0


class Backoff:
    """Tells how long to wait after each failure in a row.

    "Equal jitter" (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015): a pause is drawn evenly
    between half of the doubled base and the whole of it.

    Args:
        base_s, max_s: the first pause and the longest, in seconds.
    """

    def __init__(self, base_s: float, max_s: float, chance: random.Random | None = None) -> None:
        self._base_s, self._max_s = base_s, max_s
        self._chance = chance or random.Random()  # noqa: S311 - no secret hangs on it
        self.failures = 0

    def next(self, at_least_s: float | None = None) -> float:
        """Count a failure; return seconds to wait, no less than whoever failed asked for, up to an hour."""
        whole = min(self._max_s, self._base_s * 2.0**self.failures)
        self.failures += 1
        return max(min(at_least_s or 0.0, _LONGEST_ASKED_S), whole * self._chance.uniform(0.5, 1.0))

    def reset(self) -> None:
        """Begin anew after a success."""
        self.failures = 0
