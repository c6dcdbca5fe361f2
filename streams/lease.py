"""The token that ties a transaction to the assignment under which its rows were read.

A broker refuses offsets sent with the metadata of a member that is gone. It does not ask whether a live member owns the
partitions that it commits: metadata read freshly just before the commit would let a process that was suspended, evicted
and has silently rejoined commit over the new owner. So the token is captured once, on the poll thread, right after the
assignment that added partitions was served, and used until the assignment changes. Kafka 4.3 accepts a captured
token for as long as its partitions stayed with the member (KIP-1251), and refuses it once they were lost.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from streams.errors import BrokerError

__all__ = ["LeaseToken", "NotAMember", "read_token"]

_PREFIX = b"CGMDv2:"
_GENERATION = struct.Struct("=i")


class NotAMember(BrokerError):  # noqa: N818 - a state, which the group's next answer changes
    """The process is not, or no longer, a member of its group."""


@dataclass(frozen=True, slots=True)
class LeaseToken:
    """Consumer group metadata at one moment.

    Attributes:
        metadata: what librdkafka wants back, as it gave it.
        group, member: their ids.
        epoch: the member's epoch (the generation, under the classic protocol).
    """

    metadata: bytes
    group: str
    member: str
    epoch: int


def read_token(metadata: bytes) -> LeaseToken:
    """Parse what `Consumer.consumer_group_metadata()` returned.

    The layout is librdkafka's own (`rd_kafka_consumer_group_metadata_write`): a prefix, the generation as a native
    int32, then group and member as C strings.

    Raises:
        NotAMember: if the member has not joined. A commit with such metadata is fenced by nothing.
        BrokerError: if the layout is another one.
    """
    if not metadata.startswith(_PREFIX):
        raise BrokerError("librdkafka changed the layout of group metadata: use the pinned confluent-kafka")
    start = len(_PREFIX) + _GENERATION.size
    epoch: int = _GENERATION.unpack_from(metadata, len(_PREFIX))[0]
    group, member = metadata[start:].split(b"\0")[:2]
    if epoch <= 0 or not member:  # 0 while it joins
        raise NotAMember("this process is not (yet) a member of its consumer group, so it must not commit")
    return LeaseToken(metadata, group.decode(), member.decode(), epoch)
