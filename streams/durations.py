"""Spans of time as people write them in settings: `30s`, `5m`, `1d`."""

from __future__ import annotations

import re

__all__ = ["DAY_NS", "MS_NS", "as_written", "duration_ns", "seconds_of", "spelled"]

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
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_MOST_SECONDS = 1e9  # thirty years; longer is for ever


def duration_ns(text: str) -> int:
    """Return the nanoseconds of a whole number and a unit (ms, s, m for minutes, h, d, w).

    A day is 24 hours. Raises ValueError, with the accepted form, for anything else, zero included.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write a whole number and one of ms, s, m, h, d, w, as in 5m or 1d")
    return int(match[1]) * _UNITS[match[2]]


def seconds_of(value: object) -> float:
    """Return the seconds of a number of seconds, or of text such as `500ms` or `2m`; zero is a span, too.

    Text may also be the number itself, as variables of the environment are text. Raises ValueError, with the accepted
    forms, for anything else.
    """
    if isinstance(value, str):
        if _FORM.fullmatch(value):
            return duration_ns(value) / 1e9
        if _NUMBER.fullmatch(value):
            value = float(value)
    # The bound comes before float(), which some whole numbers are too large for; of nan it says no as well.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_SECONDS:
        return float(value)
    raise ValueError("is no span of time; write seconds, as in 0.5, or text such as 500ms, 30s or 2m")


def spelled(seconds: float) -> str:
    """Return seconds as text for people: `0.5 s`, `90 s`."""
    return f"{round(seconds, 3):,g} s" if seconds < 1e5 else f"{seconds:,.0f} s"


def as_written(seconds: float) -> str:
    """Return a span as settings have it: `5m`, `30d`, or `1.5s` where no whole unit fits."""
    for unit in ("d", "h", "m"):
        whole, rest = divmod(seconds * 1e9, _UNITS[unit])
        if whole and not rest:
            return f"{whole:.0f}{unit}"
    return f"{seconds:g}s"
