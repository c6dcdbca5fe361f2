"""A simple account of what `coordinator.ownership.Ownership` should know, kept beside it; they must agree."""

from __future__ import annotations

from collections import Counter

from coordinator.cursor import Cursor
from coordinator.ownership import Lease, Ownership, Place

__all__ = ["OwnershipAccount"]


class OwnershipAccount:
    """What happened to the partitions of one process.

    Args:
        urgent: name of the queue that is preferred.
        slots: how many may run.

    Attributes:
        grants: the present grant of each partition that is owned.
        cursors: metadata of the committed offset, where that is known.
        ready: jobs of the shards that are there and not claimed.
        running: jobs of the shards that are claimed.
    """

    def __init__(self, urgent: str, slots: int) -> None:
        self._urgent, self._slots = urgent, slots
        self.grants: dict[Place, int] = {}
        self.cursors: dict[Place, str] = {}
        self.ready: dict[Place, str] = {}
        self.running: dict[Place, str] = {}
        self._without_token: set[Place] = set()
        self._served: dict[str, int] = {}

    def assigned(self, place: Place) -> None:
        """The group has given a partition; it has no token yet."""
        self._without_token.add(place)

    def opening(self, place: Place, grant: int) -> None:
        """What is committed is being asked for, under a new grant."""
        self.grants[place] = grant
        self.cursors.pop(place, None)

    def taken(self, place: Place) -> None:
        """The group has taken a partition."""
        del self.grants[place]
        for known in (self.cursors, self.ready, self.running):
            known.pop(place, None)
        self._without_token.discard(place)

    def confirmed(self) -> None:
        """There is a token for all that had none."""
        self._without_token.clear()

    def claimed(self, lease: Lease | None) -> None:
        """Judge a claim: urgent shards go first, then the job with the fewest running, then the one served longest ago.

        Only the order of shards that stand back, as their last claim came to nothing, is left to ownership.
        """
        may = self._claimable()
        first = [place for place in may if not self._stands_back(place)]
        if lease is None:
            assert not first, f"none was claimed of {first}"
            return
        place = lease.place
        assert place not in self.running, f"a second slot runs on {place}"
        assert place in may, f"{place} was claimed, and is not among {may}"
        assert lease.grant == self.grants[place]
        if place in first:
            best = min(first, key=self._rank)
            assert self._rank(place) == self._rank(best), f"{place} was claimed where it was {best}'s turn"
        job = self.running[place] = self.ready.pop(place)
        self._served[job] = max(self._served.values(), default=0) + 1

    def ended(self, place: Place) -> None:
        """A slot has reported that the offset after its shard is committed."""
        del self.running[place]
        self.cursors[place] = ""

    def interrupted(self, place: Place, *, refused: bool) -> None:
        """A slot has reported that it left its shard; if it was refused, the token is worth nothing."""
        del self.running[place]
        if refused:
            self._without_token.add(place)

    def is_present(self, place: Place, grant: int) -> bool:
        """Whether a grant is not over."""
        return self.grants.get(place) == grant

    def check(self, ownership: Ownership) -> None:
        """Compare."""
        assert set(ownership.places()) == set(self.grants)
        assert ownership.needs_token() == bool(self._without_token)
        assert len(self.running) <= self._slots
        urgent = [place for place in self._claimable() if place.queue == self._urgent]
        assert ownership.urgent_waits() or all(self._stands_back(place) for place in urgent)
        assert urgent or not ownership.urgent_waits()

    def _claimable(self) -> list[Place]:
        return [place for place in self.ready if place not in self._without_token]

    def _rank(self, place: Place) -> tuple[bool, int, int]:
        job = self.ready[place]
        return place.queue != self._urgent, Counter(self.running.values())[job], self._served.get(job, 0)

    def _stands_back(self, place: Place) -> bool:
        cursor = self.cursors[place]
        return cursor != "" and Cursor.decode(cursor).fruitless > 0
