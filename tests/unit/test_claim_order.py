"""Which shard is claimed next: the rules that look at what became of earlier claims."""

from __future__ import annotations

from coordinator.cursor import Cursor
from coordinator.ownership import Head, Ownership, Place
from coordinator.shards import Shard
from streams.lease import LeaseToken
from tests.support.backfills import shard_of

TOKEN = LeaseToken(b"", "group", "member", 3)


def cursor_of(shard: Shard, *, fruitless: int) -> str:
    return Cursor(shard.id, shard.epoch, 1, fruitless, "elsewhere:1").encode()


class Queues:
    """Partitions of both queues, those of the urgent one first."""

    def __init__(self, partitions: int, *, urgent: int = 0) -> None:
        self.ownership = Ownership("urgent")
        self.places = [Place("urgent", p) for p in range(urgent)] + [Place("shards", p) for p in range(partitions)]
        self.grants = {place: self.ownership.assigned(place).grant for place in self.places}
        self.ownership.confirmed(TOKEN)

    def open(self, partition: int, cursor: str = "", *, offset: int = 0) -> None:
        place = self.places[partition]
        self.ownership.opened(place, self.grants[place], offset, cursor)

    def deliver(self, partition: int, shard: Shard, *, offset: int = 0) -> None:
        self.ownership.delivered(self.places[partition], Head(offset, shard, b""))

    def claimed(self) -> str | None:
        lease = self.ownership.claim()
        return None if lease is None or lease.head.shard is None else lease.head.shard.id


def test_an_urgent_shard_goes_before_one_that_was_begun_of_a_job_that_has_waited_longer() -> None:
    queues, (begun, urgent) = Queues(1, urgent=2), (shard_of("begun", job="job-b"), shard_of("urgent"))
    queues.open(2, cursor_of(begun, fruitless=0))
    queues.deliver(2, begun)
    for partition in range(2):
        queues.open(partition)
        queues.deliver(partition, urgent)
    assert [queues.claimed(), queues.claimed(), queues.claimed()] == [urgent.id, urgent.id, begun.id]


def test_a_begun_shard_goes_before_a_fresh_one_of_its_job() -> None:
    queues, (fresh, begun) = Queues(2), (shard_of("fresh"), shard_of("begun"))
    queues.open(0)
    queues.deliver(0, fresh)
    queues.open(1, cursor_of(begun, fruitless=0))
    queues.deliver(1, begun)
    assert [queues.claimed(), queues.claimed()] == [begun.id, fresh.id]


def test_a_shard_whose_last_claim_came_to_nothing_waits_until_it_is_known_what_else_there_is() -> None:
    queues, (hanging, other) = Queues(3), (shard_of("hanging"), shard_of("other"))
    queues.open(0, cursor_of(hanging, fruitless=1))
    queues.deliver(0, hanging)
    assert queues.claimed() is None
    queues.open(1)
    queues.deliver(1, other)
    assert queues.claimed() == other.id
    assert queues.claimed() is None, "nobody knows what the third partition holds"
    queues.open(2)
    queues.ownership.end_reached(queues.places[2], 0)
    assert queues.claimed() == hanging.id


def test_it_lets_ten_others_go_first_and_no_more() -> None:
    queues, hanging = Queues(2), shard_of("hanging")
    queues.open(0, cursor_of(hanging, fruitless=1))
    queues.deliver(0, hanging)
    queues.open(1)
    claimed = []
    for offset in range(20):
        queues.deliver(1, shard_of(str(offset)), offset=offset)
        claimed.append(queues.claimed())
        if claimed[-1] == hanging.id:
            break
        queues.ownership.finished(queues.places[1], queues.grants[queues.places[1]])
    assert claimed == [f"shard-{n}" for n in range(10)] + [hanging.id]
