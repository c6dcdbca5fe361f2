"""One short text for a whole result: equal for equal rows in equal order, by whatever path they came. Pure.

What is hashed (SHA-256), in this order: a line with the contract's name and version; per column its name and type and
the digest of its values; the number of rows. A column's digest covers, row after row, its values as little-endian
numbers (a boolean as one byte, text as its length in four bytes and, apart, its UTF-8), and for columns that may be
null one byte a row that says so, with zero, or nothing, as the value. -0.0 counts as 0.0, and every NaN as the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import null_mask
from schemas.contract import Contract

__all__ = ["Fingerprint", "fingerprint"]

_NAN = np.float64("nan")


class Fingerprint:
    """Takes rows in as they come, in pieces of any size.

    Args:
        contract: whose columns the rows have.
        version: of the contract in the registry.
    """

    def __init__(self, contract: Contract, version: int) -> None:
        self._schema = contract.columns
        self._head = f"{contract.name} {version}\n"
        self._rows = 0
        self._columns = [(hashlib.sha256(), hashlib.sha256(), hashlib.sha256()) for _ in self._schema]

    def add(self, rows: pa.Table | pa.RecordBatch) -> Fingerprint:
        """Take rows in, which have the contract's columns in types that can be cast to its own; returns itself."""
        for field, (values, bytes_, nulls) in zip(self._schema, self._columns, strict=True):
            for chunk in _chunks(rows.column(field.name)):
                array = chunk if chunk.type == field.type else chunk.cast(field.type)
                if field.nullable:
                    nulls.update(null_mask(array).astype(np.uint8).tobytes())
                if pa.types.is_string(field.type) or pa.types.is_binary(field.type):
                    lengths, data = _text(array)
                    values.update(lengths)
                    bytes_.update(data)
                else:
                    values.update(_fixed(array))
        self._rows += rows.num_rows
        return self

    def hexdigest(self) -> str:
        """Return the fingerprint of all rows so far, 32 hexadecimal digits."""
        whole = hashlib.sha256(self._head.encode())
        for field, hashes in zip(self._schema, self._columns, strict=True):
            whole.update(f"{field.name} {field.type}\n".encode())
            for part in hashes:
                whole.update(part.digest())
        whole.update(str(self._rows).encode())
        return whole.hexdigest()[:32]


def fingerprint(contract: Contract, version: int, batches: Iterable[pa.Table | pa.RecordBatch]) -> str:
    """Return the fingerprint of rows in pieces."""
    found = Fingerprint(contract, version)
    for batch in batches:
        found.add(batch)
    return found.hexdigest()


def _chunks(column: Any) -> Iterable[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else (column,)


def _fixed(array: pa.Array) -> memoryview | bytes:
    """Return the bytes of values that all have one width."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if pa.types.is_decimal(array.type):
        if array.null_count:
            array = array.fill_null(pa.scalar(0, array.type))
        start, width = array.offset, array.type.byte_width
        return memoryview(array.buffers()[1])[start * width : (start + len(array)) * width] if len(array) else b""
    if array.null_count:
        array = array.fill_null(0)
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        values = values + values.dtype.type(0)  # which turns -0.0 into 0.0
        strange = np.isnan(values)
        if strange.any():
            values[strange] = _NAN
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).tobytes()


def _text(array: pa.Array) -> tuple[bytes, bytes | memoryview]:
    """Return the lengths of texts, four bytes each, and all their bytes."""
    if array.null_count:
        array = array.fill_null(b"" if pa.types.is_binary(array.type) else "")
    if not len(array):
        return b"", b""
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2]
    lengths = np.diff(offsets).astype("<i4").tobytes()
    return lengths, memoryview(data)[int(offsets[0]) : int(offsets[-1])] if data is not None else b""
