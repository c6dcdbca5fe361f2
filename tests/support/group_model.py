"""A model of what a broker holds for a backfill: queues, rows, transactions, and the group that leases partitions.

Pure and without threads: each method is one request, handled at once, so whoever calls chooses the interleaving. It
follows Kafka 4.3 where leases depend on it:

* A member moves to the group's epoch only after it gave up what is no longer its own; whatever it is given is marked
  with its epoch of that moment, the *assignment epoch* (KIP-848, KIP-1251).
* Offsets are judged when they are sent, not when the transaction ends. A token of the member's *present* epoch is
  accepted for any partition, also one that it does not own: this is the hazard of fresh tokens. An older token is
  accepted for what the member has owned without a break since that epoch.
* Taking a transactional id over aborts its open transaction and fences the producer before. Any producer that was not
  fenced may end its transaction, whoever owns the partition by then.
* Offsets of an open transaction are pending; a stable read of them is refused until it ends.
* A queue has holes where transactions ended, so offsets do not count shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from coordinator.ownership import Place
from coordinator.shards import Shard, ShardState
from streams.lease import LeaseToken

__all__ = ["Beat", "Ending", "Fenced", "GroupModel", "Refused", "Row", "Unknown", "Unstable"]


class Refused(Exception):  # noqa: N818 - an answer
    """Offsets are refused: ILLEGAL_GENERATION, STALE_MEMBER_EPOCH or UNKNOWN_MEMBER_ID."""


class Fenced(Exception):  # noqa: N818 - an answer
    """Another producer has taken the transactional id over, or the transaction is gone."""


class Unknown(Exception):  # noqa: N818 - an answer
    """The member is not in the group."""


class Unstable(Exception):  # noqa: N818 - an answer
    """An open transaction may still change the offset: UNSTABLE_OFFSET_COMMIT."""


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """A chunk's row: chunk `number` of a shard has this one row."""

    shard: str
    number: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The progress record with which a shard ended."""

    place: Place
    offset: int
    shard: str
    state: ShardState
    member: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat: the member's epoch, what it must give up, and what it is given."""

    epoch: int
    revoked: tuple[Place, ...] = ()
    assigned: tuple[Place, ...] = ()


@dataclass(slots=True)
class _Member:
    epoch: int
    owned: dict[Place, int] = field(default_factory=dict)
    revoking: dict[Place, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Transaction:
    epoch: int
    rows: tuple[Row, ...]
    ending: Ending | None
    # Place, offset, metadata, and when it was written.
    offset: tuple[Place, int, str, int] | None = None


class GroupModel:
    """The broker.

    Attributes:
        history: committed rows, in the order of their commits.
        endings: committed endings.
        cancelled: shards that an order wants to end.
        late: requests whose sender waits no longer, but which may still arrive.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self.queues: dict[Place, dict[int, Shard]] = {place: {} for place in places}
        self.ends: dict[Place, int] = dict.fromkeys(self.queues, 0)
        self.history: list[Row] = []
        self.endings: list[Ending] = []
        self.cancelled: set[str] = set()
        self.late: list[Callable[[], None]] = []
        self.epoch = 0
        self.members: dict[str, _Member] = {}
        self._target: dict[Place, str] = {}
        self._producers: dict[str, int] = {}
        self._open: dict[str, _Transaction] = {}
        self._offsets: dict[Place, tuple[int, str, int]] = {}
        self._written = 0

    # The queues --------------------------------------------------------------------------------------------------

    def enqueue(self, place: Place, *shards: Shard) -> None:
        """Append shards in one transaction; its end takes an offset of its own."""
        for shard in shards:
            self.queues[place][self.ends[place]] = shard
            self.ends[place] += 1
        self.ends[place] += 1

    def fetch(self, place: Place, offset: int, most: int) -> list[int]:
        """Return the offsets of the next records."""
        return sorted(at for at in self.queues[place] if at >= offset)[:most]

    def everything_ended(self) -> bool:
        """Whether the offset after the last shard of every queue is committed."""
        return all(not self.fetch(place, self.committed(place, stable=False)[0], 1) for place in self.queues)

    # The group ---------------------------------------------------------------------------------------------------

    def join(self, member: str) -> None:
        """Take a member in; it learns of its epoch and partitions by its heartbeats."""
        self.members[member] = _Member(0)
        self._rebalance()

    def remove(self, member: str) -> None:
        """Take a member out that left or was not heard of for too long; what it owned is free at once."""
        del self.members[member]
        self._rebalance()

    def move(self, place: Place, member: str) -> None:
        """Want a partition to be another member's."""
        self.epoch += 1
        self._target[place] = member

    def heartbeat(self, member: str, epoch: int, given_up: Iterable[Place] = ()) -> Beat:
        """Bring a member one step nearer to what the group wants it to have.

        Raises:
            Unknown: if it is no member, or not the one that it takes itself for.
        """
        this = self.members.get(member)
        if this is None or epoch != this.epoch:
            raise Unknown
        waited = bool(this.revoking)
        for place in given_up:
            this.revoking.pop(place, None)
        if this.revoking:
            return Beat(this.epoch)
        # What it gave up may be another's from now on: no token from before may pass for a fresh one.
        this.epoch += waited
        unwanted = [place for place in this.owned if self._target.get(place) != member]
        if unwanted:
            this.revoking = {place: this.owned.pop(place) for place in unwanted}
            return Beat(this.epoch, revoked=tuple(unwanted))
        this.epoch = self.epoch
        free = [place for place, wanted in self._target.items() if wanted == member and self._is_free(place)]
        this.owned.update(dict.fromkeys(free, this.epoch))
        return Beat(this.epoch, assigned=tuple(free))

    def owner(self, place: Place) -> str | None:
        """Return who may work on a partition."""
        return next((name for name, m in self.members.items() if place in m.owned or place in m.revoking), None)

    def _is_free(self, place: Place) -> bool:
        return self.owner(place) is None

    def _rebalance(self) -> None:
        """Spread partitions evenly and move as few as that takes."""
        self.epoch += 1
        names = sorted(self.members)
        self._target = {place: name for place, name in self._target.items() if name in self.members}
        if not names:
            return
        load = Counter(self._target.values())
        for place in self.queues:
            if place not in self._target:
                self._target[place] = min(names, key=lambda name: load[name])
                load[self._target[place]] += 1
        while True:
            least, most = (pick(names, key=lambda name: load[name]) for pick in (min, max))
            if load[most] - load[least] <= 1:
                return
            movable = [place for place, name in self._target.items() if name == most]
            self._target[movable[self.epoch % len(movable)]] = least  # sometimes this one, sometimes that
            load[most] -= 1
            load[least] += 1

    # Transactions ------------------------------------------------------------------------------------------------

    def take_over(self, transactional_id: str) -> int:
        """Return a producer epoch (`init_transactions`): what the one before left open is aborted."""
        self._open.pop(transactional_id, None)
        epoch = self._producers[transactional_id] = self._producers.get(transactional_id, 0) + 1
        return epoch

    def begin(self, transactional_id: str, epoch: int, rows: tuple[Row, ...], ending: Ending | None) -> None:
        """Take the records of a transaction."""
        self._require(transactional_id, epoch)
        self._open[transactional_id] = _Transaction(epoch, rows, ending)

    def send_offset(
        self, transactional_id: str, epoch: int, token: LeaseToken, place: Place, offset: int, metadata: str
    ) -> None:
        """Take the offset of a transaction; here, and only here, is the token judged."""
        self._require(transactional_id, epoch)
        self._judge(token, place)
        if transactional_id not in self._open:
            raise Fenced
        self._written += 1
        self._open[transactional_id].offset = (place, offset, metadata, self._written)

    def commit(self, transactional_id: str, epoch: int) -> None:
        """End a transaction; whether its partition is still owned is not asked."""
        self._require(transactional_id, epoch)
        if transactional_id not in self._open:
            raise Fenced
        done = self._open.pop(transactional_id)
        self.history += done.rows
        if done.ending is not None:
            self.endings.append(done.ending)
        if done.offset is not None:
            place, offset, metadata, written = done.offset
            if written > self._offsets.get(place, (0, "", 0))[2]:
                self._offsets[place] = (offset, metadata, written)

    def abort(self, transactional_id: str, epoch: int) -> None:
        """Drop a producer's open transaction, if it is still its own."""
        if self._producers.get(transactional_id) == epoch:
            self._open.pop(transactional_id, None)

    def time_out(self, transactional_id: str) -> None:
        """Abort what stayed open for too long, and fence its producer."""
        self.take_over(transactional_id)

    def open_ids(self) -> list[str]:
        """Return the transactional ids with an open transaction."""
        return sorted(self._open)

    def committed(self, place: Place, *, stable: bool = True) -> tuple[int, str]:
        """Return offset and metadata, those of the first record if nothing was committed.

        Raises:
            Unstable: if an open transaction may change them, and a stable read is asked for.
        """
        if stable and any(o.offset is not None and o.offset[0] == place for o in self._open.values()):
            raise Unstable
        return self._offsets.get(place, (0, "", 0))[:2]

    def _require(self, transactional_id: str, epoch: int) -> None:
        if self._producers.get(transactional_id) != epoch:
            raise Fenced

    def _judge(self, token: LeaseToken, place: Place) -> None:
        member = self.members.get(token.member)
        if member is None or token.epoch > member.epoch:
            raise Refused
        if token.epoch == member.epoch:
            return
        since = member.owned.get(place, member.revoking.get(place))
        if since is None or since > token.epoch:
            raise Refused
