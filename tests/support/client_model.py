"""A model of a worker's Kafka consumer, at its least helpful.

What `consumer_group_metadata()` shows may lag behind, and a client that was evicted may rejoin before the application
has heard of the loss (as far as librdkafka's code was read, it rejoins only afterwards, so the model is harsher). While
news of the group waits to be told, no records are delivered: librdkafka pauses everything then.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from coordinator.ownership import Place
from streams.lease import LeaseToken
from tests.support.group_model import GroupModel, Unknown

__all__ = ["FAULTS", "ClientModel", "Fault", "Polled", "Told", "spoiled"]

_FETCHED = 3

Fault = Literal["", "drop", "swap", "repeat", "stale"]
FAULTS: tuple[Fault, ...] = ("drop", "swap", "repeat", "stale")
"""What may happen to polled records before they are judged. One holds: the delivery that answers a seek which the
position guard asked for is faithful, since by it the guard tells a hole from a loss."""


class Told(NamedTuple):
    """News of the group, waiting for the next poll; `life` counts the memberships."""

    what: Literal["assigned", "revoked", "lost"]
    life: int
    places: tuple[Place, ...] = ()


class Polled(NamedTuple):
    """A record, or the news that a partition has none from where it was read up to `offset`."""

    place: Place
    offset: int
    is_end: bool = False


class ClientModel:
    """The consumer, below what the application sees of it.

    Attributes:
        news: rebalance callbacks that wait for a poll; while there are any, no records are delivered.
    """

    def __init__(self, member: str, group: GroupModel) -> None:
        self._member, self._group = member, group
        self._epoch = self._shown = 0
        self.news: deque[Told] = deque()
        self._given_up: set[Place] = set()
        self._life = 0
        self._fetching: dict[Place, int] = {}
        self._buffered: dict[Place, list[Polled]] = {}
        self._end_told: dict[Place, int] = {}
        self._state: Literal["out", "in", "evicted"] = "out"

    def heartbeat(self, *, lagging: bool = False, rejoin_at_once: bool = False) -> None:
        """Exchange one heartbeat, in the background.

        `lagging`: the epoch that it brings is shown only after the next one. `rejoin_at_once`: if the member turns out
        to be evicted, it rejoins before the application hears of it.
        """
        if self._state == "evicted" and not self.news:
            self._state = "out"
        if self._state == "evicted":
            return
        if self._state == "out":
            self._group.join(self._member)
            self._state = "in"
            self._life += 1
        before = self._epoch
        try:
            beat = self._group.heartbeat(self._member, self._epoch, self._given_up)
        except Unknown:
            self.news.append(Told("lost", self._life))
            self._epoch, self._given_up = 0, set()
            self._buffered.clear()
            self._state = "out" if rejoin_at_once else "evicted"
            return
        self._given_up.clear()
        self._epoch = beat.epoch
        self._shown = before if lagging else beat.epoch
        if beat.revoked:
            self.news.append(Told("revoked", self._life, beat.revoked))
        if beat.assigned:
            self.news.append(Told("assigned", self._life, beat.assigned))
        if self.news:
            self._buffered.clear()

    def give_up(self, place: Place, life: int) -> None:
        """Tell the group with the next heartbeat that a partition was given up, if it was asked for in this life."""
        if life == self._life:
            self._given_up.add(place)

    def token(self) -> LeaseToken:
        """Return what the client shows at this moment."""
        return LeaseToken(b"", "group", self._member, self._shown)

    def seek(self, place: Place, offset: int) -> None:
        """Fetch a partition from an offset; what was fetched before is not delivered."""
        self._fetching[place] = offset
        self.refetch(place)

    def refetch(self, place: Place) -> None:
        """Forget what was fetched and not delivered, as pausing and resuming do."""
        self._buffered.pop(place, None)
        self._end_told.pop(place, None)

    def forget(self, place: Place) -> None:
        """Fetch a partition no more."""
        self._fetching.pop(place, None)
        self.refetch(place)

    def take(self, paused: set[Place], most: int) -> list[Polled]:
        """Deliver what was fetched, partitions in turns."""
        for place in self._fetching:
            if place not in paused and not self._buffered.get(place):
                self._buffered[place] = self._fetched(place)
        taken: list[Polled] = []
        while len(taken) < most and any(self._buffered.values()):
            for place in list(self._buffered):
                waiting = self._buffered.pop(place)
                if waiting and len(taken) < most:
                    taken.append(waiting.pop(0))
                    self._fetching[place] = taken[-1].offset + (not taken[-1].is_end)
                self._buffered[place] = waiting
        return taken

    def _fetched(self, place: Place) -> list[Polled]:
        end, found = self._group.ends[place], self._group.fetch(place, self._fetching[place], _FETCHED)
        records = [Polled(place, offset) for offset in found]
        if len(found) == _FETCHED or self._end_told.get(place) == end:
            return records
        self._end_told[place] = end
        return [*records, Polled(place, end, is_end=True)]


def spoiled(batch: list[Polled], may: list[int], fault: Fault, oldest: int) -> list[Polled]:
    """Return a batch after a fault to the first of those that it may happen to, given by their places in the batch.

    `oldest`: an offset that may have been delivered long ago.
    """
    first = batch[may[0]]
    match fault:
        case "drop":
            return batch[: may[0]] + batch[may[0] + 1 :]
        case "repeat":
            return [*batch, first]
        case "stale":
            return [Polled(first.place, oldest), *batch]
        case "swap":
            own = [n for n in may if batch[n].place == first.place]
            return [*(batch[n] for n in reversed(own)), *(b for n, b in enumerate(batch) if n not in own)]
        case _:
            return batch
