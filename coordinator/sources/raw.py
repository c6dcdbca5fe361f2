"""The dataset's own raw topic as a source of history: what is retained there, normalised again.

For instance after a contract was mended, or for rows that were quarantined. Records are stamped with their arrival, so
nothing but reading tells whose event times lie in a range: the partitions of the wanted symbols are read from their
oldest record to the end that they had when the shard was begun.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import TopicPartition

from coordinator.source import Source, SourceBatch, SourceContext, SourceError
from schemas.batch import Part
from schemas.codec import Decoder
from schemas.columns import empty_like
from schemas.mapping import locate
from streams import topics
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.log import get_logger
from streams.offsets import end_offsets, oldest_offsets
from streams.partition_reader import PartitionReader
from streams.partitioning import partitions_of
from streams.raw_schemas import RawSchemas

__all__ = ["RawSource", "open_raw"]

_BLOCK = 20_000
_PATIENCE_SECONDS = 30.0
_MOST_CURSOR = 2_000

log = get_logger(__name__)


def open_raw(rest: str, context: SourceContext) -> Source:
    """Return the source of `raw:`, or `raw:DATASET` with the dataset's own name.

    Raises:
        SourceError: not retryable, if it names another dataset.
    """
    if rest not in {"", context.dataset}:
        raise SourceError(
            f"raw:{rest}: a dataset is normalised from its own raw topic: write raw: alone", retryable=False
        )
    return RawSource(context)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where reading goes on.

    Attributes:
        ends: the offset at which each partition that is left ends, by partition; the first of them is being read.
        offset: the first record of the block to read, in that partition.
        given: batches of the block that were given already: one for each schema in it.
    """

    ends: dict[int, int]
    offset: int
    given: int = 0

    def encode(self) -> str:
        ends = {str(p): end for p, end in self.ends.items()}
        return json.dumps({"ends": ends, "offset": self.offset, "given": self.given}, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> _Place:
        try:
            found = json.loads(text)
            ends = {int(p): int(end) for p, end in found["ends"].items()}
            return cls(ends, int(found["offset"]), int(found["given"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"raw: {text!r} is no cursor of it", retryable=False) from error


class RawSource:
    """Gives committed raw records partition by partition, in blocks of a fixed number of records.

    A block is a place in the log and holds the same records for everybody, as long as they are retained. Its rows come
    in one batch for each schema, so rows of one symbol that were written under two schemas within a block may change
    their order. Records that cannot be decoded, and rows without a readable symbol or time, are of no range: they are
    counted in the log.

    Only the partitions to which the governed producer writes the symbols (murmur2) are read.
    """

    def __init__(self, context: SourceContext, *, block: int = _BLOCK) -> None:
        self._context, self._block = context, block
        self._topic = topics.raw(context.settings.world, context.dataset)
        self._decoder = Decoder(RawSchemas(context.registry, context.contract))

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        """Return how many records the symbols' partitions retain: at least as many as the range holds.

        Raises:
            SourceError: if Kafka does not answer.
        """
        del start, end
        wanted = self._partitions(symbols)
        first, last = self._borders(wanted)
        return sum(last[p] - first[p] for p in wanted)

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        """Yield the rows; see `coordinator.source.Source`. A batch may be empty, as a sign of life.

        Raises:
            SourceError: not retryable, if retention deleted what follows the cursor; else if Kafka or the registry does
                not answer.
        """
        first, last = self._borders(self._partitions(symbols))
        if cursor is None:
            ends = {p: last[p] for p in first if first[p] < last[p]}
            offset = first[next(iter(ends))] if ends else 0
            given = 0
        else:
            place = _Place.decode(cursor)
            ends, offset, given = place.ends, place.offset, place.given
        wanted = pa.array(sorted(symbols), pa.string())
        while ends:
            partition = next(iter(ends))
            if offset < first.get(partition, 0):
                raise SourceError(
                    f"{self._topic}: retention deleted records of partition {partition} that the shard had still to "
                    "read. Request the range from another source.",
                    retryable=False,
                )
            rest = {p: e for p, e in ends.items() if p != partition}
            behind = first[next(iter(rest))] if rest else 0
            yield from self._partition(_Place(ends, offset, given), _Place(rest, behind), wanted, (start, end))
            ends, offset, given = rest, behind, 0

    def close(self) -> None:
        """Nothing is held open between fetches."""

    def _partition(
        self, place: _Place, after: _Place, wanted: pa.Array, span: tuple[int, int]
    ) -> Iterator[SourceBatch]:
        """Yield what is left of the first partition of a place; `after` is the place behind it."""
        partition, end = next(iter(place.ends.items()))
        offset, given = place.offset, place.given
        reader = self._reader(partition, offset)
        try:
            while offset < end:
                values, reached = self._read(reader, partition, end)
                behind = after if reached >= end else _Place(place.ends, reached)
                parts = self._decoded(values, partition, offset)
                for number, part in enumerate(parts):
                    if number < given:
                        continue
                    last = number + 1 == len(parts)
                    here = behind if last else _Place(place.ends, offset, number + 1)
                    yield SourceBatch(self._asked(part, wanted, span), _short(here.encode()), part.raw)
                if not parts:
                    yield SourceBatch(empty_like(self._context.contract.columns), _short(behind.encode()))
                offset, given = reached, 0
        finally:
            reader.close()

    def _read(self, reader: PartitionReader, partition: int, end: int) -> tuple[list[bytes | None], int]:
        """Return a block's payloads, and the offset behind it."""
        values: list[bytes | None] = []
        reached = reader.reached[partition]
        deadline = Deadline(_PATIENCE_SECONDS)
        while len(values) < self._block and reader.reached[partition] < end:
            try:
                found = reader.read(self._block - len(values), 1.0)
            except BrokerError as error:
                raise SourceError(str(error)) from error
            if found is not None:
                kept = int(np.searchsorted(found.offsets, end))
                values += found.values[:kept]
                reached = int(found.offsets[kept - 1]) + 1 if kept else reached
                deadline = Deadline(_PATIENCE_SECONDS)
            elif deadline.passed():
                raise SourceError(f"{self._topic}, partition {partition}: no record came for {_PATIENCE_SECONDS:g} s")
        return values, end if len(values) < self._block else reached

    def _decoded(self, values: list[bytes | None], partition: int, offset: int) -> list[Part]:
        """Return the rows of a block, one part for each schema, in the order in which the schemas come."""
        decoded = self._decoder.decode(values)
        if decoded.waiting:
            raise SourceError(f"{self._topic}: the registry does not tell the schemas {sorted(decoded.waiting)}")
        if decoded.failures:
            failure = decoded.failures[0]
            log.warning(
                "raw_records_skipped",
                dataset=self._context.dataset,
                partition=partition,
                block=offset,
                records=len(decoded.failures),
                first=failure.detail,
            )
        return sorted(decoded.parts, key=lambda part: 0 if part.rows is None else int(part.rows[0]))

    def _asked(self, part: Part, wanted: pa.Array, span: tuple[int, int]) -> pa.RecordBatch:
        """Return the rows of the symbols and the times that were asked for."""
        contract = self._context.contract
        located = locate(contract, part.batch, part.raw, self._context.wanted.timezone)
        times = located.times * (10**9 // contract.time_units)
        asked = pc.is_in(located.keys, wanted).to_numpy(zero_copy_only=False)
        return part.batch.filter(pa.array(asked & (times >= span[0]) & (times < span[1]) & ~located.unread))

    def _partitions(self, symbols: Sequence[str]) -> list[int]:
        return partitions_of(symbols, self._context.wanted.partitions)

    def _borders(self, partitions: list[int]) -> tuple[dict[int, int], dict[int, int]]:
        settings = self._context.settings
        asked = [TopicPartition(self._topic, p) for p in partitions]
        try:
            first = oldest_offsets(settings, asked, deadline=Deadline(_PATIENCE_SECONDS))
            return first, end_offsets(settings, asked, stable=True, deadline=Deadline(_PATIENCE_SECONDS))
        except BrokerError as error:
            raise SourceError(str(error)) from error

    def _reader(self, partition: int, offset: int) -> PartitionReader:
        try:
            return PartitionReader(
                self._context.settings, self._topic, lambda _: [partition], {partition: offset}, until_end=True
            )
        except BrokerError as error:
            raise SourceError(str(error)) from error


def _short(cursor: str) -> str:
    if len(cursor) > _MOST_CURSOR:
        raise SourceError(
            "raw: the shard reads more partitions than its cursor can name: request fewer symbols at once",
            retryable=False,
        )
    return cursor
