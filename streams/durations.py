"""Spans of time as people write them in settings: `30s`, `5m`, `1d`."""

from __future__ import annotations

import re

__all__ = ["DAY_NS", "MS_NS", "duration_ns"]

MS_NS = 1_000_000
DAY_NS = 86_400 * 1_000 * MS_NS

_UNITS = {
    "ms": MS_NS,
    "s": 1_000 * MS_NS,
    "m": 60 * 1_000 * MS_NS,
    "h": 3_600 * 1_000 * MS_NS,
    "d": DAY_NS,
    "w": 7 * DAY_NS,
}
_FORM = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h|d|w)")


def duration_ns(text: str) -> int:
    """Return the nanoseconds of a whole number and a unit (ms, s, m for minutes, h, d, w).

    A day is 24 hours. Raises ValueError, with the accepted form, for anything else, zero included.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write a whole number and one of ms, s, m, h, d, w, as in 5m or 1d")
    return int(match[1]) * _UNITS[match[2]]
