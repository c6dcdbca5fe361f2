"""Which queue partitions are ours, what stands at their head, and what may be claimed next: the pure part of a lease.

The assignment of a queue partition is the lease of the shard at its committed offset. A partition is in one of these
states, and only the thread that polls moves it:

    assigned -> OPENING --committed offset known--> READING --record--> READY --slot free--> RUNNING
                   ^                                   ^                                       |
                   |                                   +-----------offset + 1 committed--------+
                   +------------------------------anything else: ask what is committed--------+

Revoked or lost, it is forgotten. Each assignment of a partition is a *grant* with a number of its own, so what a slot
reports about an earlier grant is known to be old.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from coordinator.cursor import Cursor, CursorError
from coordinator.shards import Shard
from streams.lease import LeaseToken
from streams.positions import PositionGuard

__all__ = ["Action", "Head", "Lease", "Open", "Ownership", "Pause", "Place", "ReadFrom"]


_OTHERS_FIRST = 10  # shards that may be claimed before one whose last claim came to nothing


class Place(NamedTuple):
    """A partition of a queue."""

    queue: str
    partition: int


@dataclass(frozen=True, slots=True)
class Open:
    """Ask what the group has committed for a partition."""

    place: Place
    grant: int


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Seek, and let the partition be fetched."""

    place: Place
    offset: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Fetch no more of a partition."""

    place: Place


Action = Open | ReadFrom | Pause


@dataclass(frozen=True, slots=True)
class Head:
    """The record at a partition's committed offset; `shard` is None if it cannot be decoded, or not yet."""

    offset: int
    shard: Shard | None
    payload: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one shard: the token is captured once and never refreshed.

    Attributes:
        cursor: the metadata of the committed offset; empty if there is none.
    """

    place: Place
    grant: int
    head: Head
    cursor: str
    token: LeaseToken


class _State(Enum):
    OPENING = "opening"
    READING = "reading"
    READY = "ready"
    RUNNING = "running"


class _Owned:
    """One partition that is ours."""

    __slots__ = (
        "committed",
        "cursor",
        "fruitless",
        "grant",
        "head",
        "known",
        "others",
        "ready_since",
        "state",
        "token",
    )

    def __init__(self, grant: int) -> None:
        self.grant = grant
        self.state = _State.OPENING
        self.token: LeaseToken | None = None
        self.committed = -1
        self.cursor = ""
        self.fruitless = False
        self.known = False
        self.others = 0
        self.head: Head | None = None
        self.ready_since = 0


class Ownership:
    """The partitions of this process.

    Args:
        urgent: name of the queue that is preferred.
        guard_positions: believe only a record that follows the committed offset; off only to show what it guards.
    """

    def __init__(self, urgent: str, *, guard_positions: bool = True) -> None:
        self._urgent = urgent
        self._guarded = guard_positions
        self._owned: dict[Place, _Owned] = {}
        self._guards: dict[str, PositionGuard] = {}
        self._grants = 0
        self._arrivals = 0
        self._claims = 0
        self._served: dict[str, int] = {}

    # What the group says -----------------------------------------------------------------------------------------

    def assigned(self, place: Place) -> Open:
        """Take a partition over; nothing of it is believed before its committed offset is known."""
        self._grants += 1
        self._owned[place] = _Owned(self._grants)
        return Open(place, self._grants)

    def taken(self, place: Place) -> int | None:
        """Forget a partition that was revoked or lost; return the grant whose slot must stop, if one runs."""
        owned = self._owned.pop(place, None)
        self._guard(place).forget(place.partition)
        return owned.grant if owned is not None and owned.state is _State.RUNNING else None

    def confirmed(self, token: LeaseToken) -> None:
        """Give the token to the partitions that have none."""
        for owned in self._owned.values():
            if owned.token is None:
                owned.token = token

    def needs_token(self) -> bool:
        """Whether a partition waits for a token."""
        return any(owned.token is None for owned in self._owned.values())

    # What the log says -------------------------------------------------------------------------------------------

    def opened(self, place: Place, grant: int, committed: int, cursor: str) -> list[Action]:
        """Go on at a committed offset."""
        owned = self._owned.get(place)
        if owned is None or owned.grant != grant or owned.state is not _State.OPENING:
            return []
        owned.committed, owned.cursor, owned.head = committed, cursor, None
        owned.state, owned.fruitless, owned.known = _State.READING, _came_to_nothing(cursor), False
        self._guard(place).expect(place.partition, committed)
        return [ReadFrom(place, committed)]

    def waits_for(self, place: Place, grant: int) -> bool:
        """Whether what is committed was asked for under this grant, and has not been told yet."""
        owned = self._owned.get(place)
        return owned is not None and owned.grant == grant and owned.state is _State.OPENING

    def delivered(self, place: Place, head: Head) -> list[Action]:
        """Judge a record: the one that follows the committed offset is the partition's head, no other."""
        owned = self._owned.get(place)
        if owned is None or owned.state is not _State.READING:
            return []
        if self._guarded:
            verdict = self._guard(place).let_through(place.partition, np.array([head.offset], np.int64))
            if verdict.seek_to is not None:
                return [ReadFrom(place, verdict.seek_to)]
            if verdict.start == verdict.stop:
                return []
        self._arrivals += 1
        owned.head, owned.state, owned.known = head, _State.READY, True
        owned.ready_since, owned.others = self._arrivals, self._claims
        return [Pause(place)]

    def end_reached(self, place: Place, end: int) -> list[Action]:
        """Judge the news that there is nothing between the expected offset and `end`."""
        owned = self._owned.get(place)
        if owned is None or owned.state is not _State.READING or not self._guarded:
            return []
        seek_to = self._guard(place).end_reached(place.partition, end)
        owned.known = seek_to is None
        return [] if seek_to is None else [ReadFrom(place, seek_to)]

    # What is worked on -------------------------------------------------------------------------------------------

    def claim(self) -> Lease | None:
        """Return the lease of the next shard, or None if no partition has one that may be claimed.

        Urgent shards go first; then those of the job with the fewest running here, of these the one that was served
        longest ago, so that a small job is not stuck behind a large one; then shards that somebody has begun; then the
        one that has waited longest. A shard whose last claim came to nothing may have ended its worker, and may do so
        again: it lets some others go first, and waits until it is known whether there are any.
        """
        all_known = all(owned.known for owned in self._owned.values())
        ready = [
            (place, owned)
            for place, owned in self._owned.items()
            if owned.state is _State.READY and owned.token and (all_known or not self._stands_back(owned))
        ]
        if not ready:
            return None
        running: dict[str, int] = {}
        for owned in self._owned.values():
            if owned.state is _State.RUNNING:
                job = _job_of(owned)
                running[job] = running.get(job, 0) + 1

        def rank(candidate: tuple[Place, _Owned]) -> tuple[bool, bool, int, int, bool, int]:
            place, owned = candidate
            job, behind, fresh = _job_of(owned), place.queue != self._urgent, owned.cursor == ""
            served = self._served.get(job, 0)
            return self._stands_back(owned), behind, running.get(job, 0), served, fresh, owned.ready_since

        place, owned = min(ready, key=rank)
        if owned.head is None or owned.token is None:
            raise RuntimeError("a partition was ready without a record and a token")
        owned.state = _State.RUNNING
        self._arrivals += 1
        self._claims += 1
        self._served[_job_of(owned)] = self._arrivals
        return Lease(place, owned.grant, owned.head, owned.cursor, owned.token)

    def finished(self, place: Place, grant: int) -> list[Action]:
        """The shard ended and the offset after it is committed: read on."""
        owned = self._current(place, grant)
        if owned is None or owned.head is None:
            return []
        owned.state, owned.cursor, owned.committed = _State.READING, "", owned.head.offset + 1
        owned.head, owned.fruitless, owned.known = None, False, False
        self._guard(place).expect(place.partition, owned.committed)
        # Not only resumed: what was delivered together with the shard is gone.
        return [ReadFrom(place, owned.committed)]

    def interrupted(self, place: Place, grant: int, *, refused: bool) -> list[Action]:
        """The slot stopped before the shard's end: ask what is committed, and claim it again.

        `refused`: the broker refused the token although the partition is (as far as the group told) still ours. Brokers
        before Kafka 4.3 do so after any rebalance; a new token is needed then.
        """
        owned = self._current(place, grant)
        if owned is None:
            return []
        if refused:
            owned.token = None
        return self._reopen(place, owned)

    def unreadable(self, place: Place) -> list[Action]:
        """The expected offset cannot be read: ask what is committed."""
        owned = self._owned.get(place)
        return [] if owned is None or owned.state is not _State.READING else self._reopen(place, owned)

    def urgent_waits(self) -> bool:
        """Whether an urgent shard could be claimed, if a slot were free."""
        return any(
            owned.state is _State.READY and owned.token is not None and not self._stands_back(owned)
            for place, owned in self._owned.items()
            if place.queue == self._urgent
        )

    def places(self) -> list[Place]:
        """Return the partitions that are ours."""
        return list(self._owned)

    def behind(self, place: Place, end: int) -> int:
        """Return how many records lie between what is committed and an end, transactions' own marks among them."""
        owned = self._owned.get(place)
        return max(0, end - owned.committed) if owned is not None and owned.committed >= 0 else 0

    def _stands_back(self, owned: _Owned) -> bool:
        return owned.fruitless and self._claims - owned.others < _OTHERS_FIRST

    def _reopen(self, place: Place, owned: _Owned) -> list[Action]:
        self._grants += 1
        owned.grant, owned.state, owned.head, owned.known = self._grants, _State.OPENING, None, False
        return [Open(place, owned.grant)]

    def _current(self, place: Place, grant: int) -> _Owned | None:
        owned = self._owned.get(place)
        return owned if owned is not None and owned.grant == grant and owned.state is _State.RUNNING else None

    def _guard(self, place: Place) -> PositionGuard:
        return self._guards.setdefault(place.queue, PositionGuard())


def _came_to_nothing(cursor: str) -> bool:
    try:
        return bool(cursor) and Cursor.decode(cursor).fruitless > 0
    except CursorError:
        return False  # its slot will say what is wrong with it


def _job_of(owned: _Owned) -> str:
    return owned.head.shard.job if owned.head is not None and owned.head.shard is not None else ""
