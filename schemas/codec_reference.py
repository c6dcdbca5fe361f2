"""The reference codec: fastavro, record by record.

It is the oracle of the tests, the codec of schemas that the columnar one does not hold, and what finds the poison
records in a batch that failed to decode as a whole.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import fastavro
import pyarrow as pa

from schemas.avro import AvroRecord, strip_logical
from schemas.columns import arrow_schema, empty_like
from schemas.wire import HEADER_SIZE, header

__all__ = ["ReferenceCodec"]


class ReferenceCodec:
    """Encodes and decodes framed records of one schema.

    Args:
        record: the schema; complex fields are decoded and left out of the columns.
        schema_id: its id in the registry.
        logical: logical types whose values are Python's own (datetimes, decimals); all others stay plain numbers.
    """

    def __init__(self, record: AvroRecord, schema_id: int, logical: frozenset[str] = frozenset({"decimal"})) -> None:
        self.record, self.schema_id = record, schema_id
        self._header = header(schema_id)
        self._avro = fastavro.parse_schema(strip_logical(record.schema, logical))
        self._arrow = arrow_schema(record)

    def decode(self, values: Sequence[bytes]) -> tuple[pa.RecordBatch, list[int], list[tuple[int, str]]]:
        """Return (columns of the good records, their positions, (position, reason) of the others)."""
        good: list[dict[str, Any]] = []
        rows: list[int] = []
        bad: list[tuple[int, str]] = []
        for row, value in enumerate(values):
            try:
                good.append(self.decode_one(value))
                rows.append(row)
            except Exception as error:
                bad.append((row, _reason(error)))
        try:
            return pa.RecordBatch.from_pylist(good, schema=self._arrow), rows, bad
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return self._one_by_one(good, rows, bad)

    def _one_by_one(
        self, data: list[dict[str, Any]], rows: list[int], bad: list[tuple[int, str]]
    ) -> tuple[pa.RecordBatch, list[int], list[tuple[int, str]]]:
        """A value that Arrow cannot hold (a decimal out of its precision) is the fault of its record alone."""
        batches, kept, more = [], [], list(bad)
        for row, datum in zip(rows, data, strict=True):
            try:
                batches.append(pa.RecordBatch.from_pylist([datum], schema=self._arrow))
                kept.append(row)
            except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
                more.append((row, _reason(error)))
        return pa.concat_batches(batches) if batches else empty_like(self._arrow), kept, sorted(more)

    def decode_one(self, value: bytes) -> dict[str, Any]:
        """Decode one framed record.

        Raises:
            ValueError: if bytes are left over after the datum; other exceptions of fastavro for other damage.
        """
        body = io.BytesIO(value)
        body.seek(HEADER_SIZE)
        datum = fastavro.schemaless_reader(body, self._avro)
        if body.tell() != len(value):
            raise ValueError(f"{len(value) - body.tell()} bytes are left over after the record")
        if not isinstance(datum, dict):
            raise TypeError("the datum is not a record")
        return datum

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """Return one framed record per row."""
        return [self.encode_one(row) for row in batch.to_pylist()]

    def encode_one(self, datum: dict[str, Any]) -> bytes:
        """Return one framed record."""
        out = io.BytesIO()
        out.write(self._header)
        fastavro.schemaless_writer(out, self._avro, datum)
        return out.getvalue()


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
