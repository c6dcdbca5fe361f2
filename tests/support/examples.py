"""How many examples a property is tried on: few in every run, more when asked for, as in `EXAMPLES=50 make unit`."""

from __future__ import annotations

import os

from hypothesis import settings

__all__ = ["examples"]

_TIMES = int(os.environ.get("EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Return the settings that try `count` examples, however long each takes: machines are slow when they are busy."""
    return settings(max_examples=count * _TIMES, deadline=None)
