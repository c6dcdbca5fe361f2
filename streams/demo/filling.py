"""How far the backfill is, whom to kill and when, and who took over: decided from what the coordinator tells. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from coordinator.cursor import Cursor
from coordinator.protocol import JobStatus, LeaseStatus, ProgressEvent, ShardStatus
from coordinator.shards import ShardState

__all__ = ["Filling", "Kill", "Takeover", "cursor_of", "label", "still_half_done", "victim"]

_HALF = 0.5
_YOUNG, _OLD = 0.2, 0.6
"""Shards whose worker may be killed: something is done, and enough is left that it does not end meanwhile."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed.

    Attributes:
        number, pid: which one.
        shard: what it held.
        share: of all rows that were there, 0 to 1.
        rows, newest: what its cursor says: rows that are done, and the time of the last of them.
        at: milliseconds since the epoch.
        seconds: since the backfill began.
    """

    number: int
    pid: int
    shard: ShardStatus
    share: float
    rows: int
    newest: datetime
    at: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Takeover:
    """Who went on with it.

    Attributes:
        number: of the worker.
        rows: behind how many it went on.
        seconds: since the kill.
    """

    number: int
    rows: int
    seconds: float


@dataclass(slots=True)
class Filling:
    """A backfill on its way.

    Attributes:
        numbers: of workers, by the names that they give themselves.
        shards: all of the job, by time and symbol.
    """

    job: JobStatus
    numbers: Mapping[str, int]
    shards: Sequence[ShardStatus] = ()
    kill: Kill | None = None
    takeover: Takeover | None = None
    seconds: float = 0.0

    def look(
        self, job: JobStatus, shards: Sequence[ShardStatus], leases: Sequence[LeaseStatus], seconds: float
    ) -> None:
        """Take in how it stands, `seconds` after it began."""
        self.job, self.shards, self.seconds = job, sorted(shards, key=lambda s: (s.start, s.symbols)), seconds
        for lease in leases:
            # The last that is heard of a dead worker may come after its death.
            if self.kill is not None and (lease.shard, lease.host) == (self.kill.shard.id, self.kill.shard.host):
                rows, newest = cursor_of(lease)
                self.kill = replace(self.kill, rows=rows, newest=newest)

    def share(self) -> float:
        """Return the share of rows that are there."""
        return min(1.0, sum(s.rows for s in self.shards) / max(1, self.job.estimated_rows))

    def count(self, state: ShardState) -> int:
        """Return how many shards are in a state."""
        return sum(s.state is state for s in self.shards)

    def hear(self, event: ProgressEvent) -> Takeover | None:
        """Return what an event says of the dead worker's shard, if it tells that another one goes on with it."""
        kill = self.kill
        if kill is None or self.takeover is not None or (event.kind, event.id) != ("lease", kill.shard.id):
            return None
        number = self.numbers.get(event.host)
        if event.state != "resumed" or number is None or number == kill.number:
            return None
        at = round(event.at.timestamp() * 1_000)
        self.takeover = Takeover(number, event.rows, (at - kill.at) / 1_000)
        return self.takeover

    def named(self, text: str) -> str:
        """Return a text in which workers have their numbers for their names."""
        for host, number in self.numbers.items():
            text = text.replace(host, f"worker {number}")
        return text

    def writers(self, shard: ShardStatus) -> tuple[int, ...]:
        """Return the numbers of those who wrote a shard, in order; nobody if it was not begun."""
        now = self.numbers.get(shard.host)
        if now is None:
            return ()
        kill = self.kill
        return (kill.number, now) if kill and kill.shard.id == shard.id and now != kill.number else (now,)


def victim(filling: Filling) -> ShardStatus | None:
    """Return the shard in whose middle its worker is to be killed, once half of all rows are there."""
    if filling.share() < _HALF:
        return None
    held = [s for s in filling.shards if s.state is ShardState.RUNNING and _YOUNG <= _done(s) <= _OLD]
    return min(held, key=_done, default=None)


def still_half_done(shard: ShardStatus, held: ShardStatus) -> bool:
    """Whether the worker, stopped by now, really holds the shard with some rows done and some not."""
    same = (shard.id, shard.host, shard.state) == (held.id, held.host, ShardState.RUNNING)
    return same and 0 < shard.rows < shard.estimated_rows


def cursor_of(lease: LeaseStatus) -> tuple[int, datetime]:
    """Return the rows that a lease's cursor counts, and the time of the last; ValueError if it has no row."""
    cursor = Cursor.decode(lease.cursor or "")
    if cursor.newest is None:
        raise ValueError(f"the cursor of {lease.shard} stands before its first row")
    return cursor.rows, datetime.fromtimestamp(cursor.newest / 1e9, UTC)


def label(shard: ShardStatus) -> str:
    """Name a shard for people: ids are hashes."""
    return f"{', '.join(shard.symbols)} from {shard.start:%Y-%m-%d}"


def _done(shard: ShardStatus) -> float:
    return shard.rows / max(1, shard.estimated_rows)
