"""The rules of the bundle with short times, so that a test sees alerts come and go: the same expressions otherwise."""

from __future__ import annotations

import re

__all__ = ["hastened"]

# Shorter, and but for the day in the same order. Ten minutes stay longer than a process may be frozen, or what it
# counts as it wakes up is in no range; and what was there within a day is to be known to the end of a test.
_RANGES = {
    "5m": "6s", "10m": "20s", "15m": "21s", "30m": "22s", "1h": "24s", "6h": "26s", "3d": "60s", "1d": "10m",
}  # fmt: skip
_PENDING = {"0m": "0s", "1m": "1s", "2m": "1s", "5m": "2s", "10m": "2s", "15m": "2s"}


def hastened(rules: str) -> str:
    """Return rules with each range, offset and `for` made short; KeyError if there is one that is not known here.

    Recording rules keep their names, which tell of the times that they have in the bundle.
    """
    rules = re.sub(r'(?<=for: ")\w+(?=")', lambda found: _PENDING[found[0]], rules)
    return re.sub(r"(?<=\[)\w+(?=\])|(?<= offset )\w+", lambda found: _RANGES[found[0]], rules)
