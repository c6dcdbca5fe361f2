"""What there is to see of a job that runs: its shards, its workers, its pace. Pure; times come as arguments."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from coordinator.protocol import JobStatus, ProgressEvent, ShardStatus
from coordinator.shards import ShardState

__all__ = ["Board", "Move", "Running", "Worker"]

_WINDOW_SECONDS = 10.0
_SHORTEST_SECONDS = 0.5  # two looks in the same moment tell no pace
_MOVES = {
    "revoked": "the group gave {shard} to another member; {host} stops after {rows:,} rows",
    "lost": "{host} was put out of the group and has lost {shard}",
    "released": "an operator released {shard} from {host} after {rows:,} rows",
    "fenced": "{host} was refused a transaction of {shard}: it no longer holds the lease",
    "stalled": "{host} stalled on {shard} after {rows:,} rows, and ends",
    "checkpointed": "{host} was told to end and left {shard} at {rows:,} rows",
    "failed": "{host} gave {shard} up after {rows:,} rows",
}


@dataclass(slots=True)
class Running:
    """A shard that somebody works on."""

    id: str
    partition: int
    host: str
    rows: int
    estimated_rows: int


@dataclass(slots=True)
class Worker:
    """A process, and what it has written while somebody looked on."""

    host: str
    shards: int = 0
    rows: int = 0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Move:
    """A lease that moved, or a shard that failed; `text` is a sentence without its end."""

    shard: str
    text: str
    grave: bool


class Board:
    """Knows how far a job is; fed with what a coordinator tells.

    Attributes:
        job: how it was when last asked for.
        running: by shard id.
    """

    def __init__(self, job: JobStatus, now: float) -> None:
        self.job = job
        self.running: dict[str, Running] = {}
        self._hosts: dict[str, str] = {}
        self._rows: dict[str, int] = {}
        self._workers: dict[str, _Pace] = {}
        self._pace = _Pace()
        self._pace.add(now, job.rows)

    def refresh(self, job: JobStatus, running: list[ShardStatus], now: float) -> None:
        """Take in how the job and its running shards are."""
        self.job = job
        self._pace.add(now, job.rows)
        self.running = {s.id: Running(s.id, s.partition, s.host, s.rows, s.estimated_rows) for s in running}
        for shard in running:
            self._hosts.setdefault(shard.id, shard.host)
            self._credit(shard.id, shard.host, shard.rows, now)

    def take(self, event: ProgressEvent, now: float) -> Move | None:
        """Take in a change; return what it says of a lease that moved."""
        if event.kind == "shard":
            self._shard(event, now)
            return None
        return self._move(event) if event.kind == "lease" else None

    def rate(self, now: float) -> float:
        """Return rows per second over the last seconds."""
        return self._pace.rate(now)

    def seconds_left(self, now: float) -> float | None:
        """Return about how long it will take; None if nothing moves."""
        left = self.job.estimated_rows * (1 - self.job.ratio) - sum(r.rows for r in self.running.values())
        rate = self.rate(now)
        return max(0.0, left) / rate if rate > 0 else None

    def share(self) -> float:
        """Return how much of it is done, with what runs: at most the ratio's 1.0, and 1.0 only with it."""
        if self.job.ratio >= 1 or not self.job.estimated_rows:
            return self.job.ratio
        running = sum(min(r.rows, r.estimated_rows) for r in self.running.values())
        return min(0.999, self.job.ratio + running / self.job.estimated_rows)

    def workers(self, now: float) -> list[Worker]:
        """Return the processes that have worked on it lately, by name."""
        found = {host: Worker(host, 0, pace.total, pace.rate(now)) for host, pace in self._workers.items()}
        for shard in self.running.values():
            worker = found.setdefault(shard.host, Worker(shard.host))
            worker.shards += 1
        return [found[host] for host in sorted(found) if host and (found[host].shards or found[host].rate > 0)]

    def _shard(self, event: ProgressEvent, now: float) -> None:
        self._credit(event.id, event.host, event.rows, now)
        if event.state == ShardState.RUNNING:
            known = self.running.get(event.id)
            if known is not None:
                known.rows, known.host = event.rows, event.host
        else:
            self.running.pop(event.id, None)

    def _credit(self, shard: str, host: str, rows: int, now: float) -> None:
        # What was written before anybody looked is nobody's pace.
        before = self._rows.get(shard, rows)
        self._rows[shard] = max(before, rows)
        if rows > before and host:
            pace = self._workers.setdefault(host, _Pace())
            pace.add(now, pace.total + rows - before)
            pace.total += rows - before

    def _move(self, event: ProgressEvent) -> Move | None:
        shard, host = event.id, event.host
        if event.state in ("claimed", "resumed"):
            before = self._hosts.get(shard)
            self._hosts[shard] = host
            self._rows.setdefault(shard, event.rows)
            if before is None or before == host or event.state == "claimed":
                return None
            return Move(shard, f"{shard} moved from {before} to {host}, which goes on after {event.rows:,} rows", False)
        words = _MOVES.get(event.state)
        if words is None:
            return None
        return Move(shard, words.format(shard=shard, host=host, rows=event.rows), event.state in ("failed", "stalled"))


class _Pace:
    """Rows over the last seconds."""

    def __init__(self) -> None:
        self.total = 0
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, rows: int) -> None:
        self._seen.append((now, rows))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()

    def rate(self, now: float) -> float:
        if not self._seen:
            return 0.0
        (began, before), (_, rows) = self._seen[0], self._seen[-1]
        took = max(now, began) - began
        if now - self._seen[-1][0] > _WINDOW_SECONDS or took < _SHORTEST_SECONDS:
            return 0.0
        return max(0, rows - before) / took
