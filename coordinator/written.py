"""What backfill has written: the committed records of a history topic, with the shards that their headers name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from confluent_kafka import Message

from coordinator.topic_reader import TopicReader

__all__ = ["SHARD_HEADER", "Tag", "WrittenRows", "read_tag", "rows_of", "write_tag"]

SHARD_HEADER = "shard"

Tag = tuple[str, int]
"""A shard's id and the epoch in which a row was written."""


def write_tag(shard: str, epoch: int) -> bytes:
    """Return the value of the header `shard`."""
    return f"{shard}:{epoch}".encode("ascii")


def read_tag(value: bytes | None) -> Tag | None:
    """Return what the header `shard` says; None if it says nothing that a worker would write."""
    shard, colon, epoch = (value or b"").decode("ascii", "replace").rpartition(":")
    return (shard, int(epoch)) if colon and shard and epoch.isdecimal() else None


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """Records of one tag in the order of their delivery; lists and arrays of one length.

    Attributes:
        tag: None for records that no worker tagged.
        keys: the symbols, as bytes; empty where a record has none.
    """

    tag: Tag | None
    keys: list[bytes]
    payloads: list[bytes]
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


def rows_of(history: TopicReader, wanted: Callable[[Tag | None], bool]) -> Iterator[WrittenRows]:
    """Yield the records of a history topic whose tags are wanted, from the oldest, a batch at a time.

    Raises:
        BrokerError: if reading cannot go on, or a transaction stays open.
    """
    for records in history.batches():
        yield from _by_tag(records, wanted)


def _by_tag(records: list[Message], wanted: Callable[[Tag | None], bool]) -> Iterator[WrittenRows]:
    groups: dict[bytes | None, list[Message]] = {}
    for message in records:
        groups.setdefault(_tag_bytes(message), []).append(message)
    for value, group in groups.items():
        tag = read_tag(value)
        if wanted(tag):
            yield WrittenRows(
                tag,
                [_bytes(m.key()) for m in group],
                [_bytes(m.value()) for m in group],
                np.array([m.partition() for m in group], np.int32),
                np.array([m.offset() for m in group], np.int64),
            )


def _tag_bytes(message: Message) -> bytes | None:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    found = next((value for name, value in pairs if name == SHARD_HEADER), None)
    return found.encode() if isinstance(found, str) else found


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
