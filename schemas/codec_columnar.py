"""The columnar codec: all records of a batch at once, through pyruhvro.

Two tricks make it fast and safe:

*The header is two Avro fields.* A zero byte is the Avro int 0 and four bytes are an Avro float, bit for bit. So framed
payloads are decoded and encoded whole, under the schema with these two fields in front: Python never slices or joins a
record, and one vectorised comparison of the two columns tells whether every record carries the expected schema id.

*Sizes must add up.* pyruhvro accepts bytes after a datum. The encoded size of the decoded columns follows from their
values; if the sum is not that of the payloads, some record had bytes left over (or a number that was padded).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyruhvro

from schemas.avro import AvroField, AvroRecord, strip_logical
from schemas.columns import arrow_schema
from schemas.wire import HEADER_SIZE, MAGIC

__all__ = ["ColumnarCodec", "Unclean"]

_MAGIC, _ID = "__magic", "__schema_id"


class Unclean(Exception):  # noqa: N818 - it is an outcome, not an error of the user's
    """A batch is not wholly made of clean records of the expected schema."""


class ColumnarCodec:
    """Encodes and decodes framed records of one flat schema.

    Args:
        record: a schema for which `record.flat` holds.
        schema_id: its id in the registry.
    """

    def __init__(self, record: AvroRecord, schema_id: int) -> None:
        self.record, self.schema_id = record, schema_id
        self._arrow = arrow_schema(record)
        self._avro = json.dumps(_with_header(record))
        self._id_bits = np.frombuffer(struct.pack(">I", schema_id), "<u4")[0]
        self._wire = pa.schema([pa.field(_MAGIC, pa.int32(), False), pa.field(_ID, pa.float32(), False), *self._arrow])
        self._texts = [i for i, f in enumerate(self._arrow) if pa.types.is_string(f.type)]

    def decode(self, values: Sequence[bytes | None]) -> pa.RecordBatch:
        """Decode records that all carry this codec's schema id.

        Raises:
            Unclean: if any record does not, is damaged, or has bytes left over.
        """
        try:
            batch = pyruhvro.deserialize_array(values, self._avro)
        except (ValueError, TypeError) as error:
            raise Unclean(str(error)) from error
        ids = batch.column(1).to_numpy().view(np.uint32)
        if batch.column(0).to_numpy().any() or not (ids == self._id_bits).all():
            raise Unclean("not all records carry the expected schema id")
        columns = batch.columns[2:]
        for i in self._texts:
            _check_text(columns[i])
        if sum(len(v) for v in values if v is not None) != self._encoded_size(columns, len(values)):
            raise Unclean("bytes are left over after a record, or a number in it is padded")
        return pa.RecordBatch.from_arrays(columns, schema=self._arrow)

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """Return one framed record per row of a batch with this schema's plain columns."""
        n = batch.num_rows
        magic = pa.array(np.full(n, MAGIC, np.int32))
        ids = pa.array(np.full(n, self._id_bits, np.uint32).view(np.float32))
        framed = pa.RecordBatch.from_arrays([magic, ids, *batch.columns], schema=self._wire)
        encoded = pyruhvro.serialize_record_batch(framed, self._avro, 1)
        payloads: list[bytes] = encoded[0].to_pylist()
        return payloads

    def _encoded_size(self, columns: Sequence[pa.Array], n: int) -> int:
        total = n * HEADER_SIZE
        for field, column in zip(self.record.fields.values(), columns, strict=True):
            total += _column_size(field, column, n)
        return total


def _with_header(record: AvroRecord) -> dict[str, Any]:
    plain = strip_logical(record.schema)
    return {
        "type": "record",
        "name": record.schema["name"],
        "fields": [
            {"name": _MAGIC, "type": "int"},
            {"name": _ID, "type": "float"},
            *({"name": f["name"], "type": f["type"]} for f in plain["fields"]),
        ],
    }


def _check_text(column: pa.Array) -> None:
    """pyruhvro does not look whether text is UTF-8; polars and Python rely on it."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise Unclean(str(error)) from error


def _column_size(field: AvroField, column: pa.Array, n: int) -> int:
    """Return how many bytes a column's values take in Avro's binary encoding."""
    branches = 0
    if field.nullable:
        branches = n
        if column.null_count:
            column = column.drop_null()
    present = len(column)
    if field.type in {"int", "long"}:
        return branches + _varint_sizes(column.to_numpy())
    if field.type == "string":
        offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + present + 1]
        lengths = np.diff(offsets) if present else np.zeros(0, np.int32)
        return branches + int(lengths.sum()) + _varint_sizes(lengths)
    if field.type == "enum":
        encoded = column.dictionary_encode()
        places = np.array([field.symbols.index(s) for s in encoded.dictionary.to_pylist()], np.int64)
        return branches + (_varint_sizes(places[encoded.indices.to_numpy()]) if present else 0)
    return branches + present * {"boolean": 1, "float": 4, "double": 8}[field.type]


def _varint_sizes(values: npt.NDArray[Any]) -> int:
    """Return the bytes that numbers take as zigzag varints; most columns need no pass but minimum and maximum."""
    n = len(values)
    if not n:
        return 0
    signed = values.astype(np.int64, copy=False)
    zigzag = ((signed << 1) ^ (signed >> 63)).view(np.uint64)
    least, most = int(zigzag.min()), int(zigzag.max())
    size = n
    for bits in range(7, 64, 7):
        limit = 1 << bits
        if least >= limit:
            size += n
        elif most >= limit:
            size += int(np.count_nonzero(zigzag >= np.uint64(limit)))
        else:
            break
    return size
