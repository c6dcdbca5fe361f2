"""A model of a slot: it asks of the broker what `coordinator/slot.py` and its writer ask, in that order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from coordinator.cursor import Cursor
from coordinator.ownership import Lease, Place
from coordinator.shards import Shard, ShardState
from streams.lease import LeaseToken
from tests.support.group_model import Ending, Fenced, GroupModel, Refused, Row

__all__ = ["Misfortune", "Outcome", "SlotModel"]

Misfortune = Literal["", "unanswered", "late"]
"""What may happen to a request: it is handled but never answered, or it is under way for longer than anyone waits for
it. Either way the slot gives up without knowing what became of its transaction."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a slot reports: that the offset after its shard is committed, or that it left before."""

    place: Place
    grant: int
    ended: bool = False
    refused: bool = False


class _Stopped(Exception):  # noqa: N818 - an order
    pass


class _Cancelled(Exception):  # noqa: N818 - an order
    pass


class _GaveUp(Exception):  # noqa: N818 - an outcome
    pass


class SlotModel:
    """A slot; a step is one request.

    Args:
        token: returns the token that a transaction carries.

    Attributes:
        stopping: why it was told to stop, which it heeds before its next transaction; empty if it was not.
        over: whether it has reported.
    """

    def __init__(
        self,
        group: GroupModel,
        lease: Lease,
        transactional_id: str,
        token: Callable[[], LeaseToken],
        report: Callable[[Outcome], None],
    ) -> None:
        self._group, self.lease, self._id, self._token, self._report = group, lease, transactional_id, token, report
        self.stopping, self.over = "", False
        self._epoch = -1
        # What this claim has committed last.
        self._cursor: Cursor | None = None
        self._misfortune: Misfortune = ""
        self._steps = self._run()

    def stop(self, why: str) -> None:
        """Tell it to stop; the first reason counts."""
        self.stopping = self.stopping or why

    def step(self, misfortune: Misfortune = "") -> None:
        """Make the next request."""
        self._misfortune = misfortune
        next(self._steps, None)

    def finish(self) -> None:
        """Go on until it has reported."""
        while not self.over:
            self.step()

    def _run(self) -> Iterator[None]:
        outcome = Outcome(self.lease.place, self.lease.grant)
        try:
            self._epoch = self._group.take_over(self._id)
            yield
            try:
                yield from self._work()
                outcome = replace(outcome, ended=True)
            except _Stopped:
                yield from self._leave()
        except (Refused, Fenced):
            self._group.abort(self._id, self._epoch)
            outcome = replace(outcome, refused=True)
        except _GaveUp:
            pass  # such a producer is dropped as it is, since what it did is not known
        self.over = True
        self._report(outcome)

    def _work(self) -> Iterator[None]:
        lease, shard = self.lease, self._shard
        cursor = Cursor.decode(lease.cursor) if lease.cursor else Cursor(shard.id, shard.epoch, 0)
        if (cursor.shard, cursor.epoch) != (shard.id, shard.epoch):
            yield from self._end((), ShardState.FAILED)
            return
        try:
            self._obey()
            yield from self._go_on((), replace(cursor, attempt=cursor.attempt + 1, fruitless=cursor.fruitless + 1))
            while True:
                cursor = self._claimed
                rows = (Row(shard.id, cursor.rows),)
                self._obey()
                if cursor.rows + 1 == shard.estimated_rows:
                    yield from self._end(rows, ShardState.DONE)
                    return
                beyond = replace(cursor, rows=cursor.rows + 1, sequence=cursor.sequence + 1, fruitless=0)
                yield from self._go_on(rows, beyond)
        except _Cancelled:
            yield from self._end((), ShardState.CANCELLED)

    def _leave(self) -> Iterator[None]:
        """Give a claimed shard back; the claim was not fruitless, as it was ended from outside."""
        if self._cursor is not None and self.stopping != "lost":
            yield from self._go_on((), replace(self._cursor, fruitless=max(0, self._cursor.fruitless - 1)))

    def _go_on(self, rows: tuple[Row, ...], cursor: Cursor) -> Iterator[None]:
        yield from self._transact(rows, None, self.lease.head.offset, cursor.encode())
        self._cursor = cursor

    def _obey(self) -> None:
        if self.stopping:
            raise _Stopped
        if self._shard.id in self._group.cancelled:
            raise _Cancelled

    def _end(self, rows: tuple[Row, ...], state: ShardState) -> Iterator[None]:
        place, offset = self.lease.place, self.lease.head.offset
        ending = Ending(place, offset, self._shard.id, state, self.lease.token.member)
        return self._transact(rows, ending, offset + 1, "")

    def _transact(self, rows: tuple[Row, ...], ending: Ending | None, offset: int, metadata: str) -> Iterator[None]:
        group, producer = self._group, (self._id, self._epoch)
        group.begin(*producer, rows, ending)
        yield
        self._request(partial(group.send_offset, *producer, self._token(), self.lease.place, offset, metadata))
        yield
        self._request(partial(group.commit, *producer))
        yield

    def _request(self, request: partial[None]) -> None:
        if self._misfortune == "late":
            self._group.late.append(request)
            raise _GaveUp
        request()
        if self._misfortune == "unanswered":
            raise _GaveUp

    @property
    def _claimed(self) -> Cursor:
        assert self._cursor is not None
        return self._cursor

    @property
    def _shard(self) -> Shard:
        assert self.lease.head.shard is not None
        return self.lease.head.shard
