"""Payloads to columns and back, whatever mix of schemas and poison a batch holds.

The codec of a schema is chosen once: columnar where pyruhvro holds the schema, fastavro into columns where not. A batch
of one clean schema is decoded in one call. Any other is split by schema id, and where a piece fails to decode it is
halved until the poison stands alone: poison costs its neighbours time, never their life.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from schemas.avro import AvroRecord
from schemas.bounded import Recent
from schemas.codec_columnar import ColumnarCodec, Unclean
from schemas.codec_reference import ReferenceCodec
from schemas.conformance import Failure, Part
from schemas.wire import schema_id

__all__ = ["Decoded", "Decoder", "Encoder"]

_SMALL = 64
_MOST_CODECS = 256


@dataclass(slots=True)
class Decoded:
    """What became of a batch of payloads.

    Attributes:
        parts: decoded rows, one part per schema.
        ids: the schema id of each part.
        failures: rows that could not be decoded, with reasons.
        waiting: schema ids that the registry could not be asked about; their rows are in neither.
        fallbacks: how many records went through the reference codec.
    """

    parts: list[Part] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)
    fallbacks: int = 0


Resolve = Callable[[int], AvroRecord | str | None]


class Decoder:
    """Decodes framed payloads.

    Args:
        resolve: gives the record of a schema id; a text says why the schema cannot be used (the row fails with
            `unknown_schema`, or `incompatible_schema` if the text begins with that word); None means that nobody
            knows yet, so rows of that id have to wait.
        foresee: is told of all ids of a batch that will be asked for, before the first of them is.
    """

    def __init__(self, resolve: Resolve, foresee: Callable[[Collection[int]], None] | None = None) -> None:
        self._resolve, self._foresee = resolve, foresee
        # A fleet that writes a new schema with every record must not fill the memory with codecs.
        self._codecs: Recent[int, _Codecs | str] = Recent(_MOST_CODECS)
        self._latest: int | None = None

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode payloads; None (a tombstone) and unframed ones fail as `undecodable`."""
        known = self._codecs.get(self._latest) if self._latest is not None else None
        if self._latest is not None and isinstance(known, _Codecs) and known.columnar is not None and values:
            try:
                return Decoded([Part(known.columnar.decode(values), known.record)], [self._latest])
            except Unclean:
                pass
        return self._decode_mixed(values)

    def _decode_mixed(self, values: Sequence[bytes | None]) -> Decoded:
        found = Decoded()
        groups: dict[int, list[int]] = {}
        for row, value in enumerate(values):
            known = schema_id(value)
            if known is None:
                found.failures.append(Failure(row, "undecodable", "the payload has no schema id"))
            else:
                groups.setdefault(known, []).append(row)
        if self._foresee is not None:
            self._foresee([identifier for identifier in groups if self._codecs.get(identifier) is None])
        for identifier, rows in groups.items():
            codecs = self._find(identifier)
            if codecs is None:
                found.waiting.add(identifier)
            elif isinstance(codecs, str):
                flag = "incompatible_schema" if codecs.startswith("incompatible") else "unknown_schema"
                found.failures += [Failure(row, flag, codecs) for row in rows]
            else:
                _decode_group(codecs, identifier, rows, [values[row] or b"" for row in rows], found)
        if groups:
            self._latest = max(groups, key=lambda i: len(groups[i]))
        return found

    def _find(self, identifier: int) -> _Codecs | str | None:
        """Return the codecs of a schema id, a text saying why it cannot be used, or None if nobody knows yet."""
        known = self._codecs.get(identifier)
        if known is not None:
            return known
        record = self._resolve(identifier)
        if record is None or isinstance(record, str):
            return record
        made: _Codecs | str
        try:
            made = _Codecs.of(record, identifier)
        except Exception as error:
            # A registry of another make may hold what fastavro calls no schema; its exceptions have no common class.
            made = f"incompatible schema id {identifier}: it cannot be decoded: {error}"
        return self._codecs.put(identifier, made)


@dataclass(frozen=True, slots=True)
class _Codecs:
    """The codecs of one schema; `columnar` is None if it does not hold the schema."""

    record: AvroRecord
    columnar: ColumnarCodec | None
    reference: ReferenceCodec

    @classmethod
    def of(cls, record: AvroRecord, identifier: int) -> _Codecs:
        columnar = ColumnarCodec(record, identifier) if record.flat else None
        return cls(record, columnar, ReferenceCodec(record, identifier))


def _decode_group(codecs: _Codecs, identifier: int, rows: list[int], payloads: list[bytes], found: Decoded) -> None:
    """Decode payloads of one schema, which stand at `rows` of the batch."""
    batches: list[pa.RecordBatch] = []
    kept: list[int] = []
    stack = [(0, len(rows))]
    while stack:
        start, end = stack.pop()
        piece = payloads[start:end]
        if codecs.columnar is not None:
            try:
                batches.append(codecs.columnar.decode(piece))
            except Unclean:
                if end - start > _SMALL:
                    middle = (start + end) // 2
                    stack += [(middle, end), (start, middle)]
                    continue
            else:
                kept += rows[start:end]
                continue
        batch, good, bad = codecs.reference.decode(piece)
        found.fallbacks += len(piece)
        if codecs.columnar is not None:
            batch, good, bad = _only_strict(codecs.columnar, piece, batch, good, bad)
        batches.append(batch)
        kept += [rows[start + i] for i in good]
        found.failures += [Failure(rows[start + i], "undecodable", reason) for i, reason in bad]
    if kept:
        found.parts.append(Part(pa.concat_batches(batches), codecs.record, np.array(kept, np.int64)))
        found.ids.append(identifier)


def _only_strict(
    columnar: ColumnarCodec,
    payloads: list[bytes],
    batch: pa.RecordBatch,
    good: list[int],
    bad: list[tuple[int, str]],
) -> tuple[pa.RecordBatch, list[int], list[tuple[int, str]]]:
    """Take out what the reference codec let pass although it is damaged.

    fastavro takes a negative number of an enum's symbol or a union's branch for one counted from the end, so damage
    would become a wrong value. The columnar codec knows no such leniency.
    """
    kept, more = [], list(bad)
    for place, row in enumerate(good):
        try:
            columnar.decode([payloads[row]])
            kept.append(place)
        except Unclean as error:
            more.append((row, str(error)))
    if len(kept) == len(good):
        return batch, good, bad
    return batch.take(pa.array(kept, pa.int64())), [good[place] for place in kept], sorted(more)


class Encoder:
    """Encodes contract columns as framed payloads of one registered schema."""

    def __init__(self, record: AvroRecord, schema_id: int) -> None:
        self._codec = ColumnarCodec(record, schema_id) if record.flat else ReferenceCodec(record, schema_id)

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """Return one payload per row."""
        return self._codec.encode(batch) if batch.num_rows else []
