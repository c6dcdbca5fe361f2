"""Which partition holds a key: the arithmetic of Kafka's default partitioner.

The murmur2 of `org.apache.kafka.common.utils.Utils`, by which the Java clients (and librdkafka with
`partitioner=murmur2_random`, see `streams.clients`) spread keys over partitions. Knowing it, a reader of one symbol
reads one partition.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["murmur2", "partition_of", "partitions_of"]

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the unsigned 32-bit murmur2 hash; Java's is the same bits, signed."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k ^= k >> 24
        h = h * _M & _MASK ^ k * _M & _MASK
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: str | bytes, partitions: int) -> int:
    """Return the partition, of `partitions`, in which records of a key are; text is taken as UTF-8.

    Raises ValueError if there are no partitions.
    """
    if partitions < 1:
        raise ValueError("a topic has at least one partition")
    data = key.encode() if isinstance(key, str) else key
    return (murmur2(data) & 0x7FFFFFFF) % partitions


def partitions_of(keys: Iterable[str], partitions: int) -> list[int]:
    """Return the partitions, in order, that can hold any of the keys."""
    return sorted({partition_of(key, partitions) for key in keys})
