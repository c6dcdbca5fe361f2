"""Confluent wire format: a zero byte, the schema id as four bytes big-endian, then the Avro body."""

from __future__ import annotations

import struct

__all__ = ["HEADER_SIZE", "MAGIC", "header", "schema_id"]

MAGIC = 0
HEADER_SIZE = 5
_HEADER = struct.Struct(">bI")


def header(schema_id: int) -> bytes:
    """Return the five bytes before a body."""
    return _HEADER.pack(MAGIC, schema_id)


def schema_id(payload: bytes | None) -> int | None:
    """Return the schema id of a payload, or None if it is not framed at all."""
    if payload is None or len(payload) < HEADER_SIZE or payload[0] != MAGIC:
        return None
    found: int = _HEADER.unpack_from(payload)[1]
    return found
