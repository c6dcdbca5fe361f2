"""Orders to workers: what an operator wants done about a job or a shard, and which shards that concerns.

The topic of orders keeps the newest of each target, so what was ordered before is void: a job that is resumed is no
longer paused. Who writes an order gives it a later time than the order before, whatever the clocks say, so that
everybody agrees on which is the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from coordinator.shards import Shard

__all__ = ["Order", "OrderKind", "applies", "later"]


class OrderKind(StrEnum):
    """What can be ordered; the first three of jobs, the others of shards."""

    PAUSE = "pause"  # park the job's shards at their next chunk
    RESUME = "resume"  # takes a pause or a cancellation back
    CANCEL = "cancel"  # end the job's shards at their next chunk
    SKIP = "skip"  # give the shard up
    RELEASE = "release"  # end one claim of the shard; it is claimed anew

    @property
    def of_job(self) -> bool:
        """Whether the target is a job."""
        return self in (OrderKind.PAUSE, OrderKind.RESUME, OrderKind.CANCEL)


@dataclass(frozen=True, slots=True)
class Order:
    """An order; the fields are those of `events/backfill_control.avsc`, times in milliseconds since the epoch."""

    target: str
    order: OrderKind
    epoch: int
    attempt: int | None = None
    by: str = ""
    reason: str | None = None
    at: int = 0

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "order": self.order.value}

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> Order:
        """Return the order of a datum; ValueError if it is none that this program knows."""
        return cls(**{**datum, "order": OrderKind(datum["order"])})


def applies(order: Order, shard: Shard, attempt: int | None) -> bool:
    """Return whether an order concerns a shard as it is queued or claimed; `attempt` is None before its claim.

    An order about a job concerns the shards that were queued until then: those of its epoch and of earlier ones, as a
    job that is asked for anew queues only what had ended. What is queued after a cancellation is not cancelled by it.
    An order about a shard concerns one epoch of it, a release one attempt only.
    """
    if order.order.of_job:
        return order.target == shard.job and shard.job_epoch <= order.epoch
    if order.target != shard.id or order.epoch != shard.epoch:
        return False
    return order.order is not OrderKind.RELEASE or order.attempt == attempt


def later(one: Order, other: Order) -> Order:
    """Return the newer of two orders about the same target, whatever order they came in."""
    return max(one, other, key=lambda o: (o.at, o.epoch, o.order.value))
