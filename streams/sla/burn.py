"""Error budgets: how fast they are used up, over pairs of windows, and how much of them is left.

The alerts are those that the Google SRE Workbook arrives at in chapter 5: one is raised when the budget is used up too
fast over a long window (it matters) and over a short one (it still goes on). A rate of 1 uses up the budget in just its
period.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, repeat

from streams.sla.breach import Burn
from streams.sla.clock import floor
from streams.sla.objectives import Pair

__all__ = ["Ledger", "Ring"]

_PIECES_OF_PERIOD = 60

Piece = tuple[int, int, int]
"""Start of a piece of time (nanoseconds since the epoch), observations in it, and the bad ones of them."""


class Ring:
    """Counts over the last `span` nanoseconds, in pieces of `unit`; a span is exact but for one unit at its start."""

    def __init__(self, span: int, unit: int, pieces: Iterable[Piece] = ()) -> None:
        self.span, self.unit = span, unit
        self._pieces = {start: (count, bad) for start, count, bad in pieces}

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, at: int, count: int, bad: int) -> None:
        """Count what was told at a moment."""
        start = floor(at, self.unit)
        old_count, old_bad = self._pieces.get(start, (0, 0))
        self._pieces[start] = old_count + count, old_bad + bad

    def over(self, end: int, span: int | None = None) -> tuple[int, int]:
        """Return the observations, and the bad ones, of the time before `end`."""
        begin = end - (span or self.span)
        kept = [piece for start, piece in self._pieces.items() if begin < start + self.unit and start < end]
        return sum(count for count, _ in kept), sum(bad for _, bad in kept)

    def forget(self, end: int) -> None:
        """Forget what no span that ends at `end` or later reaches."""
        for start in [start for start in self._pieces if start + self.unit <= end - self.span]:
            del self._pieces[start]

    def pieces(self) -> list[Piece]:
        """Return what is kept, the earliest first."""
        return [(start, *counts) for start, counts in sorted(self._pieces.items())]


class Ledger:
    """The account of one error budget.

    Args:
        pairs: the pairs of windows.
        period: the time that the budget is for, nanoseconds.
        allowed: the share that may be bad.
        kept: the pieces of each ring as `pieces` returned them; none for a new account.
    """

    def __init__(
        self, pairs: tuple[Pair, ...], period: int, allowed: float, kept: Iterable[Iterable[Piece]] = ()
    ) -> None:
        self._pairs, self._allowed = pairs, allowed
        shortest = min(pair.unit for pair in pairs)
        spans = [(pair.long, pair.unit) for pair in pairs]
        spans.append((period, max(shortest, floor(period // _PIECES_OF_PERIOD, shortest))))
        pieces: Iterable[Iterable[Piece]] = chain(kept, repeat(()))
        self._rings = [Ring(span, unit, own) for (span, unit), own in zip(spans, pieces, strict=False)]
        self._quiet_after = max(pair.short + pair.unit for pair in pairs)

    def __len__(self) -> int:
        return sum(map(len, self._rings))

    def add(self, at: int, count: int, bad: int) -> None:
        """Enter what was told at a moment."""
        for ring in self._rings:
            ring.add(at, count, bad)

    def forget(self, end: int) -> None:
        """Forget what nothing that ends at `end` or later reaches."""
        for ring in self._rings:
            ring.forget(end)

    def burns(self, end: int, min_count: int) -> list[tuple[Burn, bool]]:
        """Return each pair at a moment, and whether both its windows exceed the rate."""
        found = []
        for pair, ring in zip(self._pairs, self._rings, strict=False):
            count, bad = ring.over(end)
            long_rate, short_rate = self._rate(count, bad), self._rate(*ring.over(end, pair.short))
            burn = Burn(pair.long / 1e9, pair.short / 1e9, pair.rate, long_rate, short_rate, pair.severity)
            found.append((burn, count >= min_count and long_rate > pair.rate < short_rate))
        return found

    def counts(self, end: int, pair: int) -> tuple[int, int]:
        """Return the observations, and the bad ones, of the long window of a pair."""
        return self._rings[pair].over(end)

    def left(self, end: int) -> float:
        """Return the share of the budget that is left in the period that ends so; negative if it is overdrawn."""
        return 1.0 - self._rate(*self._rings[-1].over(end))

    def can_burn_until(self) -> int | None:
        """Return until when a pair may begin to exceed its rate though nothing more is observed; None if none may."""
        latest = max((start for ring in self._rings[:-1] for start, *_ in ring.pieces()), default=None)
        return None if latest is None else latest + self._quiet_after

    def pieces(self) -> list[list[Piece]]:
        """Return what is kept, for the record of the state."""
        return [ring.pieces() for ring in self._rings]

    def _rate(self, count: int, bad: int) -> float:
        return bad / count / self._allowed if count else 0.0
