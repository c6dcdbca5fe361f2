"""What is demanded of the product: how fast, how late at most, how large at most, and against whom. Pure."""

from __future__ import annotations

__all__ = [
    "ARCHIVE_INGEST",
    "ARCHIVE_READ",
    "AT_LEAST",
    "AT_MOST",
    "BARS_PER_SECOND",
    "FETCH",
    "GOVERNANCE_AT_LEAST",
    "GOVERNANCE_AT_MOST",
    "HANDOVER_P99_SECONDS",
    "LEASES_P99_MS",
    "PLANNED_10_000_SECONDS",
    "REBUILD_SECONDS",
    "START_SECONDS",
    "WORKER_MB",
    "WORKER_RATIO",
    "at_least",
    "at_most",
]

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

#: Of the normalizer: latency in milliseconds, memory in MB, and how many times what it was early it may be late.
AT_MOST = {"p99_ms": 130.0, "peak_mb": 400.0, "late_mb / early_mb": 1.1}

#: What governance may cost: the rate in strict mode as a share of that in optional, seconds until a mode is in force,
#: and how many times what it was early memory may be late, while a fleet writes a hundred thousand schema ids.
GOVERNANCE_AT_LEAST = {"strict / optional": 0.95}
GOVERNANCE_AT_MOST = {"mode change s": 5.0, "late_mb / early_mb": 1.1}

#: Seconds of a warm start on two cores.
START_SECONDS = {"Kafka answers": 3.0, "the stack answers": 7.0}

#: Seconds to plan ten thousand shards.
PLANNED_10_000_SECONDS = 1.0

#: One worker's rate / a plain loop's; a worker's resident memory with shards of any size.
WORKER_RATIO, WORKER_MB = 0.6, 300.0

#: From the kill of a worker until its shards go on elsewhere, at default settings.
HANDOVER_P99_SECONDS = 10.0

#: A coordinator's view of a hundred thousand shards: from nothing, and its answer to who holds what.
REBUILD_SECONDS, LEASES_P99_MS = 10.0, 50.0

#: How many times as long as polars takes for one Parquet file of the same rows.
ARCHIVE_READ = 2.0

#: The time of `Provider.fetch` for as many rows / that of polars.
FETCH = 2.0

#: The archiver's rate / the normalizer's: it must keep up.
ARCHIVE_INGEST = 1.0


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
