"""Many observations of one key and second as one record: an agent reads thousands where readers tell millions.

What readers have folded and what the agent folds come out the same, as folds add up in any grouping.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.provider.observations import Observation
from streams.sla.clock import floor
from streams.sla.fold import Fold
from streams.sla.records import fold_of
from streams.sla.sketch import bins_of
from streams.sla.verdict import moment, nanos

__all__ = ["FEW", "Columns", "Prefolder", "fold_columns"]

NS = 1_000_000_000
FEW = 8
"""So many of one key and second are written one by one, at once and with all that is known of each."""

_FORGET_AFTER = 10 * NS

Key = tuple[str, str, int]


class Columns(NamedTuple):
    """Observations as columns of one length, for programs that make very many.

    Attributes:
        group: which key each is of, by number.
        at: when, nanoseconds since the epoch.
        elapsed: what it took, seconds.
        over: whether its outcome was another than ok.
    """

    group: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    elapsed: npt.NDArray[np.float64]
    over: npt.NDArray[np.bool_]


def fold_columns(columns: Columns, step: int = NS) -> dict[tuple[int, int], Fold]:
    """Return the folds of observations by group and start of their step, nanoseconds since the epoch.

    The worst ones have no names here, as columns have none.
    """
    if not len(columns.group):
        return {}
    starts = columns.at - columns.at % step
    bins = bins_of(columns.elapsed)
    order = np.lexsort((bins, starts, columns.group))
    group, start, bins = columns.group[order], starts[order], bins[order]
    new_fold = np.r_[True, (group[1:] != group[:-1]) | (start[1:] != start[:-1])]
    new_bin = new_fold | np.r_[True, bins[1:] != bins[:-1]]
    first, first_bin = np.flatnonzero(new_fold), np.flatnonzero(new_bin)
    counts: npt.NDArray[np.int64] = np.diff(np.r_[first_bin, len(group)])
    bounds = np.searchsorted(first_bin, np.append(first, len(group)))
    sizes = np.diff(np.r_[first, len(group)])
    overs = np.add.reduceat(columns.over[order].astype(np.int64), first)
    longest = np.maximum.reduceat(columns.elapsed[order], first)
    last = np.maximum.reduceat(columns.at[order], first)
    values, numbers, edges = list(map(int, bins[first_bin])), list(map(int, counts)), list(map(int, bounds))
    keys = zip(group[first].tolist(), start[first].tolist(), strict=True)
    rest = zip(sizes.tolist(), overs.tolist(), longest.tolist(), last.tolist(), strict=True)
    found = {}
    for n, (key, (size, over, most, newest)) in enumerate(zip(keys, rest, strict=True)):
        part = slice(edges[n], edges[n + 1])
        own = dict(zip(values[part], numbers[part], strict=True))
        found[key] = Fold(size, over, own, most, newest)
    return found


class Prefolder:
    """Lets the first few observations of each key and second through, and adds up the others of that second.

    Those that are told while their phase still goes on always go as they are.
    """

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        self._through: Counter[Key] = Counter()
        self._folds: dict[Key, tuple[Observation, Fold]] = {}

    def __len__(self) -> int:
        """Return how many observations are held."""
        return sum(fold.count for _, fold in self._folds.values())

    def add(self, told: Observation) -> Observation | None:
        """Take an observation; return it if it is to be written as it is."""
        key = told.objective, told.lane, floor(nanos(told.at), NS)
        if told.fold is not None or not told.final:
            return told
        if self._through[key] < self._few:
            self._through[key] += 1
            return told
        latest, fold = self._folds.get(key, (told, Fold()))
        fold.add(fold_of(told.datum()))
        self._folds[key] = max(latest, told, key=lambda each: each.at), fold
        return None

    def take(self, now: int | None = None) -> Iterator[Observation]:
        """Yield the sums of the seconds that are over, and forget these; without `now`, nanoseconds, of all."""
        over = [key for key in self._folds if now is None or key[2] + NS <= now]
        for key in over:
            latest, fold = self._folds.pop(key)
            yield replace(
                latest,
                at=moment(key[2]),
                outcome="violated" if fold.over else "ok",
                elapsed_seconds=fold.longest,
                budget_seconds=None,
                fetch_id=fold.worst[0].fetch_id,
                symbols=0,
                rows=None,
                watermark=fold.newest,
                coverage=None,
                min_coverage=None,
                synthetic=fold.synthetic > 0,
                fold=fold,
            )
        for key in [key for key in self._through if now is None or key[2] + _FORGET_AFTER <= now]:
            del self._through[key]
