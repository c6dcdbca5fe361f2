"""Jobs and shards: what is to be fetched, and how far it is.

Plain frozen records, as there may be a hundred thousand of them; requests are checked where they come in. Event times
are nanoseconds since the Unix epoch, all other times milliseconds. Ranges are half open: `end` is not part of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

__all__ = ["Job", "Progress", "Shard", "ShardState", "job_id", "newer", "shard_id"]


class ShardState(StrEnum):
    """What became of a shard in its latest epoch."""

    PENDING = "pending"  # in the queue
    RUNNING = "running"  # claimed; perhaps by a worker that is gone
    DONE = "done"
    FAILED = "failed"  # its source or its attempts gave out; also in the dead-letter topic
    CANCELLED = "cancelled"  # its job was cancelled
    SKIPPED = "skipped"  # an operator's order
    PARKED = "parked"  # its job is paused; taken out of the queue with its cursor

    @property
    def ended(self) -> bool:
        """Whether no worker will touch it unless it is queued anew."""
        return self not in (ShardState.PENDING, ShardState.RUNNING)


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of history to fetch; the fields are those of `events/backfill_shard.avsc`."""

    id: str
    job: str
    dataset: str
    symbols: tuple[str, ...]
    start: int
    end: int
    source: str
    as_of: int
    contract_version: int
    estimated_rows: int
    partition: int
    urgent: bool = False
    job_epoch: int = 1
    epoch: int = 1
    cursor: str | None = None
    error: str | None = None

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        return {**_shallow(self), "symbols": list(self.symbols)}

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> Shard:
        """Return the shard of a datum."""
        return cls(**{**datum, "symbols": tuple(datum["symbols"])})


@dataclass(frozen=True, slots=True)
class Job:
    """A request for history, and which shards fetch it; the fields are those of `BackfillJob`."""

    id: str
    epoch: int
    dataset: str
    symbols: tuple[str, ...]
    start: int
    end: int
    interval: str | None
    source: str
    as_of: int
    contract_version: int
    urgent: bool
    shards: tuple[str, ...]
    estimated_rows: int
    requested_by: str
    created_at: int

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        return {"job": {**_shallow(self), "symbols": list(self.symbols), "shards": list(self.shards)}, "shard": None}

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> Job:
        """Return the job of the `job` part of a datum."""
        return cls(**{**datum, "symbols": tuple(datum["symbols"]), "shards": tuple(datum["shards"])})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is; the fields are those of `BackfillShardProgress`."""

    shard: Shard
    state: ShardState = ShardState.PENDING
    attempt: int = 0
    sequence: int = 0
    offset: int = -1
    member: str = ""
    host: str = ""
    lease_epoch: int = -1
    cursor: str | None = None
    rows: int = 0
    rejected: int = 0
    outside: int = 0
    digest: str = ""
    newest: int | None = None
    started_at: int = 0
    at: int = 0
    error: str | None = None

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        return {
            "job": None,
            "shard": {**_shallow(self), "shard": self.shard.to_avro(), "state": self.state.value},
        }

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> Progress:
        """Return the progress of the `shard` part of a datum."""
        return cls(**{**datum, "shard": Shard.from_avro(datum["shard"]), "state": ShardState(datum["state"])})

    def requeued(self, at: int, *, keep_cursor: bool) -> Progress:
        """Return the shard queued anew, from its cursor or from its beginning."""
        shard = replace(self.shard, epoch=self.shard.epoch + 1, cursor=self.cursor if keep_cursor else None, error=None)
        return Progress(shard, at=at)


def newer(one: Progress, other: Progress) -> Progress:
    """Return the later of two records about the same shard, whatever order they came in.

    Compaction keeps the last record written, and a record of an older epoch may be written late; so readers reduce
    by what the records say. Within an epoch an ended state wins over one that is not, whatever attempt it counts: who
    ends a shard because its cursor cannot be read knows of no attempt before.
    """
    return max(one, other, key=lambda p: (p.shard.epoch, p.state.ended, p.attempt, p.sequence, p.at))


def job_id(
    dataset: str, symbols: tuple[str, ...], start: int, end: int, source: str, as_of: int | None, version: int
) -> str:
    """Return the id of a request: equal requests are one job. `as_of` is None if the request named none."""
    return "job-" + _hash("job", dataset, symbols, start, end, source, as_of, version)


def shard_id(
    dataset: str, symbols: tuple[str, ...], start: int, end: int, source: str, as_of: int | None, version: int
) -> str:
    """Return the id of a shard: whoever asks for the same piece of history asks for the same shard."""
    return "shard-" + _hash("shard", dataset, symbols, start, end, source, as_of, version)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:20]


def _shallow(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
