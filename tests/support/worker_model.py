"""A model of one worker process: consumer and slots are models too, ownership and token capture are the real ones.

Every method is one step of a worker; between any two of them it may be suspended or killed. Left out are records that
are no shards, failing sources and the limit of attempts: they end a shard, but move no lease.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coordinator.lease_tokens import TokenCapture
from coordinator.ownership import Action, Head, Open, Ownership, Pause, Place, ReadFrom
from streams.lease import LeaseToken
from tests.support.client_model import ClientModel, Fault, Polled, Told, spoiled
from tests.support.group_model import GroupModel, Unstable
from tests.support.ownership_account import OwnershipAccount
from tests.support.slot_model import Misfortune, Outcome, SlotModel

__all__ = ["ALL_GUARDS", "SLOTS", "URGENT", "Guarded", "ProcessModel"]

URGENT = "urgent"
SLOTS = 2


@dataclass(frozen=True, slots=True)
class Guarded:
    """What guards a lease.

    Attributes:
        captured_token: transactions carry the token of the lease, not what the client shows at the commit.
        partition_ids: the transactional id is that of the partition, not of process and partition.
        positions: only a record that follows the committed offset is believed.
        second_look: a token is trusted after one more undisturbed poll, not as soon as it is read.
        stable_reads: a committed offset that an open transaction may change is not read.
    """

    captured_token: bool = True
    partition_ids: bool = True
    positions: bool = True
    second_look: bool = True
    stable_reads: bool = True


ALL_GUARDS = Guarded()


class _Opened(NamedTuple):
    place: Place
    grant: int
    offset: int
    cursor: str


class ProcessModel:
    """A worker: its loop polls, looks at its token, hears and claims; openings and slots go on beside it.

    Attributes:
        ownership, account: the real one, and what it should know.
        openings: committed offsets that were asked for and not answered.
        inbox: what openings and slots have reported and the loop has not heard.
        slots: all that have not reported, also those whose lease is gone.
        fault: what happens to the records that are polled next.
        deaf: whether reports take their time to reach the loop, so that it polls on without them.
    """

    def __init__(self, member: str, group: GroupModel, guarded: Guarded = ALL_GUARDS) -> None:
        self.member, self._group, self._guarded = member, group, guarded
        self.ownership = Ownership(URGENT, guard_positions=guarded.positions)
        self.account = OwnershipAccount(URGENT, SLOTS)
        self.client = ClientModel(member, group)
        self.openings: list[Open] = []
        self.inbox: deque[_Opened | Outcome] = deque()
        self.slots: list[SlotModel] = []
        self.fault: Fault = ""
        self.deaf = False
        self._capture = TokenCapture()
        self._polled = False
        # Grants whose opening found the offset unstable, and whether it has still to take the transactional id over.
        self._hindered: dict[int, bool] = {}
        self._paused: set[Place] = set()
        # Partitions whose next delivery answers a seek of the position guard.
        self._answering: set[Place] = set()
        self._holders: dict[Place, SlotModel] = {}
        self._heard: list[_Opened | Outcome] = []
        self._usual = self._usually()

    def go_on(self, operations: int = 1) -> None:
        """Do what a worker does in its usual order, and stop after so many operations."""
        for _ in range(operations):
            next(self._usual)

    def check(self) -> None:
        """Compare ownership with the account of it."""
        self.account.check(self.ownership)

    # Beside the loop ---------------------------------------------------------------------------------------------

    def answer(self, number: int = 0) -> None:
        """Let an opening make its next request: for the committed offset, or, once, for what keeps that from it."""
        wanted = self.openings[number]
        if self._hindered.get(wanted.grant):
            self._hindered[wanted.grant] = False
            self._group.take_over(self._transactional_id(wanted.place))
            return
        try:
            offset, cursor = self._group.committed(wanted.place, stable=self._guarded.stable_reads)
        except Unstable:
            self._hindered.setdefault(wanted.grant, True)
            return
        del self.openings[number]
        self.inbox.append(_Opened(wanted.place, wanted.grant, offset, cursor))

    def step(self, number: int = 0, misfortune: Misfortune = "") -> None:
        """Let one slot make its next request."""
        self.slots[number].step(misfortune)
        self.slots = [slot for slot in self.slots if not slot.over]

    def release(self, place: Place) -> None:
        """Follow an operator's order: end this claim."""
        self._holders[place].stop("released")

    def drain(self) -> None:
        """Let slots stop before their next transaction."""
        for slot in self.slots:
            slot.stop("drained")
            slot.finish()

    # The loop ----------------------------------------------------------------------------------------------------

    def poll(self, most: int = 3, *, slots_stop: bool = True) -> None:
        """Serve one piece of news of the group, or else deliver records.

        `slots_stop`: whether slots of revoked partitions end in time.
        """
        self._polled = True
        if self.client.news:
            self._capture.disturbed()
            self._serve(self.client.news.popleft(), slots_stop=slots_stop)
            return
        moved: set[Place] = set()
        for polled in self._spoiled(self.client.take(self._paused, most)):
            # What was polled before a seek is not judged after it.
            if polled.place not in moved:
                actions = self._judge(polled)
                self._execute(actions)
                moved.update(action.place for action in actions if isinstance(action, ReadFrom))
        self._answering |= moved

    def cannot_read(self, place: Place) -> None:
        """The consumer finds nothing at the place that it was to read from."""
        self._execute(self.ownership.unreadable(place))

    def look(self) -> None:
        """After a poll: read the token, if one is needed."""
        if not self._polled or not self.ownership.needs_token():
            return
        self._polled = False
        read = self.client.token()
        token = self._capture.polled(read) if self._guarded.second_look else read
        if token is not None:
            self.ownership.confirmed(token)
            self.account.confirmed()

    def hear(self) -> None:
        """Take in one report; one about an earlier grant must change nothing."""
        report = self.inbox.popleft()
        if self.account.is_present(report.place, report.grant):
            self._heard.append(report)
            self._tell(report)
        else:
            self._tell_in_vain(report)

    def hear_again(self) -> None:
        """Take in once more what was heard of grants that are over."""
        for report in self._heard[-3:]:
            if not self.account.is_present(report.place, report.grant):
                self._tell_in_vain(report)

    def claim(self) -> bool:
        """Start a slot, if one is free and a shard may be claimed; return whether one did."""
        if len(self.account.running) >= SLOTS:
            return False
        lease = self.ownership.claim()
        self.account.claimed(lease)
        if lease is None:
            return False
        captured = lease.token

        def token() -> LeaseToken:
            return captured if self._guarded.captured_token else self.client.token()

        slot = SlotModel(self._group, lease, self._transactional_id(lease.place), token, self.inbox.append)
        self._holders[lease.place] = slot
        self.slots.append(slot)
        return True

    # Inside ------------------------------------------------------------------------------------------------------

    def _usually(self) -> Iterator[None]:
        while True:
            self.client.heartbeat()
            yield
            self.poll()
            yield
            self.look()
            yield
            for _ in range(2):
                while self.inbox and not self.deaf:
                    self.hear()
                    yield
                for wanted in list(self.openings):
                    if wanted in self.openings:
                        self.answer(self.openings.index(wanted))
                        yield
            while self.claim():
                yield
            for slot in list(self.slots):
                if slot in self.slots:
                    self.step(self.slots.index(slot))
                    yield

    def _transactional_id(self, place: Place) -> str:
        own = f"{place.queue}.{place.partition}"
        return own if self._guarded.partition_ids else f"{self.member}.{own}"

    def _serve(self, told: Told, *, slots_stop: bool) -> None:
        if told.what == "assigned":
            for place in told.places:
                self._paused.add(place)
                self.account.assigned(place)
                self._execute([self.ownership.assigned(place)])
            return
        for place in told.places if told.what == "revoked" else self.ownership.places():
            slot = self._holders.pop(place, None)
            stopped = self.ownership.taken(place)
            assert stopped == (slot and slot.lease.grant), f"the slot of {place}: {stopped}"
            if slot is not None:
                slot.stop(told.what)
                if told.what == "revoked" and slots_stop:
                    slot.finish()
            self.account.taken(place)
            self._answering.discard(place)
            self.client.forget(place)
            if told.what == "revoked":
                self.client.give_up(place, told.life)
        self.slots = [slot for slot in self.slots if not slot.over]

    def _judge(self, polled: Polled) -> list[Action]:
        place, offset, is_end = polled
        self._answering.discard(place)
        if is_end:
            return self.ownership.end_reached(place, offset)
        shard = self._group.queues[place][offset]
        actions = self.ownership.delivered(place, Head(offset, shard, b""))
        if any(isinstance(action, Pause) for action in actions):
            self.account.ready[place] = shard.job
        return actions

    def _tell(self, report: _Opened | Outcome) -> None:
        place, grant = report.place, report.grant
        if isinstance(report, _Opened):
            self.account.cursors[place] = report.cursor
            self._execute(self.ownership.opened(*report))
            return
        del self._holders[place]
        if report.ended:
            self.account.ended(place)
            self._execute(self.ownership.finished(place, grant))
            return
        if report.refused:
            self._capture.disturbed()
        self.account.interrupted(place, refused=report.refused)
        self._execute(self.ownership.interrupted(place, grant, refused=report.refused))

    def _tell_in_vain(self, report: _Opened | Outcome) -> None:
        before = pickle.dumps(self.ownership)
        actions: Sequence[Action]
        if isinstance(report, _Opened):
            actions = self.ownership.opened(*report)
        elif report.ended:
            actions = self.ownership.finished(report.place, report.grant)
        else:
            actions = self.ownership.interrupted(report.place, report.grant, refused=report.refused)
        assert not actions, f"a report about an earlier grant caused {actions}"
        assert pickle.dumps(self.ownership) == before, "a report about an earlier grant changed something"

    def _execute(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Open(place, grant):
                    self.account.opening(place, grant)
                    self.openings.append(action)
                case ReadFrom(place, offset):
                    self.client.seek(place, offset)
                    self._paused.discard(place)
                case Pause(place):
                    self.client.refetch(place)
                    self._paused.add(place)
                case _:
                    raise AssertionError(f"nobody expects {action}")

    def _spoiled(self, batch: list[Polled]) -> list[Polled]:
        """Return the batch as it is judged; a fault waits for a record that it may happen to."""
        may = [n for n, polled in enumerate(batch) if not polled.is_end and polled.place not in self._answering]
        if not may:
            return batch
        fault, self.fault = self.fault, ""
        return spoiled(batch, may, fault, min(self._group.queues[batch[may[0]].place]))
