"""What happened to the lease of a shard, as the log of leases tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

__all__ = ["LeaseChange", "LeaseEvent"]


class LeaseChange(StrEnum):
    """What can happen to a lease."""

    # in the transaction that they tell of
    CLAIMED = "claimed"  # from the beginning
    RESUMED = "resumed"  # from a cursor
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    PARKED = "parked"
    # with what is left to do, unless the lease was gone before that could be told
    CHECKPOINTED = "checkpointed"
    REVOKED = "revoked"
    RELEASED = "released"
    YIELDED = "yielded"
    # told beside any transaction
    LOST = "lost"
    FENCED = "fenced"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """An event; the fields are those of `events/backfill_lease.avsc`, times in milliseconds since the epoch."""

    shard: str
    job: str
    event: LeaseChange
    queue: str
    partition: int
    offset: int
    member: str
    host: str
    lease_epoch: int
    attempt: int
    rows: int
    at: int
    detail: str | None = None

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "event": self.event.value}

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> LeaseEvent:
        """Return the event of a datum; ValueError if it is none that this program knows."""
        return cls(**{**datum, "event": LeaseChange(datum["event"])})
