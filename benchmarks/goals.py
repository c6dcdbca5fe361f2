"""What is demanded of the product: how many times as fast as each peer, how late at most, how large at most. Pure."""

from __future__ import annotations

__all__ = ["AT_LEAST", "AT_MOST", "BARS_PER_SECOND", "at_least", "at_most"]

#: The product's rate / the job's, by the job's name.
AT_LEAST = {
    "passthrough": 0.6,
    "kafka_streams_1": 0.9,
    "confluent_avro": 8.0,
    "quixstreams": 9.0,
    "bytewax": 5.0,
    "faust": 80.0,
}

#: Bars per second on one core, by the size of the batches that conformance is given; None: all rows at once.
BARS_PER_SECOND = {None: 5_000_000, 5_000: 3_000_000}

#: Latency in milliseconds, resident memory in MB, and how many times what it was early it may be late.
AT_MOST = {"p99_ms": 130.0, "peak_mb": 400.0, "late_mb / early_mb": 1.1}


def at_least(goal: float | None, found: float | None) -> str:
    """Return a goal as a cell of a table, with whether it is met; nothing where there is none."""
    if goal is None:
        return ""
    return _cell("≥", goal, None if found is None else found >= goal)


def at_most(goal: float | None, found: float | None) -> str:
    """Return a goal that must not be passed, as `at_least` does."""
    if goal is None:
        return ""
    return _cell("≤", goal, None if found is None else found <= goal)


def _cell(sign: str, goal: float, met: bool | None) -> str:
    return f"{sign} {goal:,.10g}" + ("" if met is None else " ✓" if met else " ✗")
