"""The job itself, record by record with fastavro, as a user of a Python peer writes it."""

from __future__ import annotations

import json
import math
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from benchmarks.programs.assignment import Assignment

__all__ = ["BarsCodec", "holds"]

_HEADER_BYTES = 5

Bar = dict[str, Any]


def holds(bar: Bar) -> bool:
    """Return whether a bar is sound: finite, positive, and its high and low enclose its open and close."""
    open_, high, low, close, volume = bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"]
    return (
        math.isfinite(open_ + high + low + close + volume)
        and high >= low > 0
        and high >= open_
        and high >= close
        and low <= open_
        and low <= close
        and volume >= 0
    )


class BarsCodec:
    """Bytes in the Confluent wire format to a bar and back."""

    def __init__(self, task: Assignment) -> None:
        self._schema = parse_schema(json.loads(Path(task.schema_path).read_text()))
        self._header = b"\0" + task.schema_id.to_bytes(4, "big")

    def decode(self, value: bytes) -> Bar:
        """Return the bar; raises ValueError for a foreign schema id."""
        if value[:_HEADER_BYTES] != self._header:
            raise ValueError(f"unexpected header {value[:_HEADER_BYTES]!r}")
        return schemaless_reader(BytesIO(value[_HEADER_BYTES:]), self._schema)

    def encode(self, bar: Bar) -> bytes:
        """Return the bar in the Confluent wire format."""
        buffer = BytesIO()
        buffer.write(self._header)
        schemaless_writer(buffer, self._schema, bar)
        return buffer.getvalue()
