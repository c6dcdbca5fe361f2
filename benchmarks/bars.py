"""Deterministic one-minute bars of twenty symbols, generated in columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.contract import Contract

__all__ = ["SYMBOLS", "bars"]

SYMBOLS = tuple(f"SYM{number:02d}" for number in range(20))

_FIRST_MINUTE = np.datetime64("2025-01-01T00:00", "us")
_UNITS = {"timestamp-millis": "ms", "timestamp-micros": "us", "timestamp-nanos": "ns"}


def bars(count: int, contract: Contract, seed: int = 7) -> pa.RecordBatch:
    """Return `count` bars, ordered by time, then by symbol; every bar obeys the rules of a bar.

    The series run through every minute of every day: prices are a random walk in cents, and a bar opens
    where the last one closed. Fields that are not a bar's take their schema default.
    """
    minutes = -(-count // len(SYMBOLS))
    shape = (minutes, len(SYMBOLS))
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.normal(0.0, 2e-4, shape), axis=0)
    closes = np.round(np.linspace(80.0, 900.0, len(SYMBOLS)) * np.exp(walk), 2)
    opens = np.vstack([closes[:1], closes[:-1]])
    reach = np.round(random.exponential(0.05, (2, *shape)), 2)
    columns: dict[str, Any] = {
        "symbol": np.tile(np.array(SYMBOLS), minutes),
        "event_time": np.repeat(_FIRST_MINUTE + np.arange(minutes) * np.timedelta64(1, "m"), shape[1]),
        "open": opens.ravel(),
        "high": np.round(np.maximum(opens, closes) + reach[0], 2).ravel(),
        "low": np.round(np.minimum(opens, closes) - reach[1], 2).ravel(),
        "close": closes.ravel(),
        "volume": random.integers(1, 50_000, shape).astype(float).ravel(),
    }
    arrays = {field["name"]: _array(field, columns.get(field["name"]), count) for field in contract.fields}
    return pa.RecordBatch.from_pydict(arrays)


def _array(field: dict[str, Any], column: Any, count: int) -> pa.Array:
    """Return one field's values in the type its schema declares."""
    if column is None:
        return pa.array(np.full(count, field["default"]))
    declared = field["type"]
    unit = _UNITS.get(declared.get("logicalType", "")) if isinstance(declared, dict) else None
    array = pa.array(column[:count], pa.timestamp(unit) if unit else None)
    # Millions of texts come in pieces.
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
