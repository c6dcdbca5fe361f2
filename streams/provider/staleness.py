"""How old the newest row is, as a reader would have it: a weekend makes nothing stale.

Bars are late when the next one that the calendar expects has ended and is not there; for how long is their staleness.
Ticks have no next one: theirs is the time of trading that went by since the newest. Only live rows count; what backfill
brings of the past makes no series look fresh.
"""

from __future__ import annotations

import numpy as np

from schemas.grid import make_grid

__all__ = ["staleness_seconds"]

NANOS = 1_000_000_000
_MINUTE_NS = 60 * NANOS


def staleness_seconds(newest_ns: int, now_ns: int, *, interval_ns: int | None, calendar: str) -> float:
    """Return the staleness of a series whose newest row has an event time, at a moment; never negative.

    Args:
        newest_ns: greatest event time of the live rows, nanoseconds since the epoch.
        now_ns: the moment, nanoseconds since the epoch.
        interval_ns: spacing of the bars; None for ticks.
        calendar: the dataset's calendar.

    Raises:
        ContractError: if there is no such calendar, or the interval is none that bars have.
    """
    if now_ns <= newest_ns:
        return 0.0
    if interval_ns is None:
        return _traded(newest_ns, now_ns, calendar) / NANOS
    expected = make_grid(interval_ns, calendar).expected(newest_ns, now_ns)
    following = int(expected.before(np.array([newest_ns + 1], np.int64))[0])
    if following < len(expected) and _start(expected.starts(np.array([following]))) <= newest_ns:
        following += 1  # a session's bar may be stamped at the earlier of its two midnights
    if following >= len(expected):
        return 0.0
    due = int(expected.ends(np.array([following]))[0])
    return max(0, now_ns - due) / NANOS


def _traded(newest_ns: int, now_ns: int, calendar: str) -> int:
    """Return the nanoseconds of trading between two moments, whole minutes at both ends of a session."""
    expected = make_grid(_MINUTE_NS, calendar).expected(newest_ns, now_ns)
    opened = np.maximum(expected.first, newest_ns)
    closed = np.minimum(expected.until, now_ns)
    return int(np.maximum(closed - opened, 0).sum())


def _start(starts: np.ndarray) -> int:
    return int(starts[0])
