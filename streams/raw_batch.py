"""Records of a raw topic as they came from the consumer, judged for position and ready to be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError, Message

from streams.positions import PositionGuard
from streams.quarantined import REPLAY_HEADER

__all__ = ["RawBatch", "gather"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Records that may be processed, in the order of their delivery.

    Attributes:
        messages: the records.
        partitions, offsets: their coordinates.
        seeks: partitions to seek, and where to, before anything more is consumed.
        errors: errors that the consumer reported in between.
    """

    messages: list[Message]
    partitions: npt.NDArray[np.int32]
    offsets: Ints
    seeks: dict[int, int]
    errors: list[KafkaError]

    def payloads(self) -> list[bytes]:
        """Return the records' values; a tombstone's is None, which the decoder tells from a payload."""
        return cast("list[bytes]", list(map(Message.value, self.messages)))

    def timestamps_ms(self) -> Ints:
        """Return the records' timestamps, milliseconds since the epoch."""
        return np.array([m.timestamp()[1] for m in self.messages], np.int64)

    def replayed(self) -> npt.NDArray[np.bool_]:
        """Return which records were sent again from quarantine."""
        named = (dict(m.headers() or []) for m in self.messages)
        return np.fromiter((REPLAY_HEADER in headers for headers in named), np.bool_, len(self.messages))

    def only(self, rows: Ints) -> RawBatch:
        """Return the batch with some of its rows."""
        messages = [self.messages[i] for i in rows]
        return RawBatch(messages, self.partitions[rows], self.offsets[rows], self.seeks, self.errors)


def gather(delivered: Sequence[Any], guard: PositionGuard) -> RawBatch:
    """Let through what the position guard lets through, run of one partition by run."""
    errors: list[KafkaError] = []
    ends: dict[int, int] = {}
    if any(map(Message.error, delivered)):
        for message in delivered:
            error = message.error()
            if error is None:
                continue
            if error.code() == KafkaError._PARTITION_EOF:
                ends[message.partition()] = message.offset()
            else:
                errors.append(error)
        delivered = [m for m in delivered if m.error() is None]
    partitions = np.array(list(map(Message.partition, delivered)), np.int32)
    offsets = np.empty(len(partitions), np.int64)
    seeks: dict[int, int] = {}
    kept: list[npt.NDArray[np.intp]] = []
    borders = np.concatenate(([0], np.flatnonzero(np.diff(partitions)) + 1, [len(partitions)]))
    for start, stop in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        if start == stop:
            continue
        offsets[start:stop] = _offsets(delivered, start, stop)
        partition = int(partitions[start])
        if partition not in guard or partition in seeks:
            continue
        verdict = guard.let_through(partition, offsets[start:stop])
        kept.append(np.arange(start + verdict.start, start + verdict.stop))
        if verdict.seek_to is not None:
            seeks[partition] = verdict.seek_to
    for partition, end in ends.items():
        if partition in guard and partition not in seeks:
            seek_to = guard.end_reached(partition, end)
            if seek_to is not None:
                seeks[partition] = seek_to
    rows = np.concatenate(kept) if kept else np.zeros(0, np.intp)
    whole = RawBatch(list(delivered), partitions, offsets, seeks, errors)
    return whole if len(rows) == len(partitions) else whole.only(rows.astype(np.int64))


def _offsets(delivered: Sequence[Any], start: int, stop: int) -> Ints:
    """Return the offsets of a run of one partition, which rise: if the last is as far as the run is long, they are all
    there, and need not be asked one by one."""
    first, last = delivered[start].offset(), delivered[stop - 1].offset()
    if last - first == stop - start - 1:
        return np.arange(first, last + 1)
    return np.array([m.offset() for m in delivered[start:stop]], np.int64)
