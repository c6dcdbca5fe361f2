"""A mergeable sketch of how long things took: DDSketch's logarithmic bins, counted exactly.

Bin i holds what lies in (gamma^(i-1), gamma^i]; any value of it stands for the others with a relative error of at most
ACCURACY. Counts are whole numbers, so that merging is exact and its order makes no difference, which is what replay
rests on (Masson, Rim, Lee: "DDSketch", VLDB 2019; the mapping is that of the `ddsketch` library).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from ddsketch.mapping import LogarithmicMapping

__all__ = ["ACCURACY", "SHORTEST_S", "Bins", "bin_at", "bin_of", "bins_of", "merge", "value_of"]

ACCURACY = 0.01
"""The greatest relative error of a quantile."""

SHORTEST_S = 1e-6
"""What is shorter counts as this long: nobody promises less than a microsecond, and no bin is below it."""

Bins = dict[int, int]
"""Counts by bin; bins that hold nothing are not there."""

_MAPPING = LogarithmicMapping(ACCURACY)
_LOG_GAMMA = float(np.log(_MAPPING.gamma))


def bin_of(seconds: float) -> int:
    """Return the bin of a value."""
    return int(bins_of(np.array([seconds]))[0])


def bins_of(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the bins of values."""
    found: npt.NDArray[np.int64] = np.ceil(np.log(np.maximum(seconds, SHORTEST_S)) / _LOG_GAMMA).astype(np.int64)
    return found


def merge(into: Bins, more: Mapping[int, int] | Iterable[tuple[int, int]]) -> None:
    """Add counts to bins."""
    for each, count in more.items() if isinstance(more, Mapping) else more:
        into[each] = into.get(each, 0) + count


def bin_at(bins: Mapping[int, int], share: float) -> int | None:
    """Return the least bin that at least `share` (0 to 1) of all values do not exceed; None of nothing."""
    total = sum(bins.values())
    if not total:
        return None
    rank, seen = max(1, math.ceil(share * total - 1e-9)), 0
    for each in sorted(bins):
        seen += bins[each]
        if seen >= rank:
            return each
    raise AssertionError("the last bin reaches every rank")


def value_of(each: int) -> float:
    """Return the value, in seconds, that stands for a bin."""
    return float(_MAPPING.value(each))
