"""Hosts, workers and a broker, and what may befall them: the rules of a search, and of stories told step by step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coordinator.ownership import Place
from coordinator.shards import Shard
from tests.support.backfills import shard_of
from tests.support.client_model import FAULTS, Fault
from tests.support.group_model import Fenced, GroupModel, Refused
from tests.support.slot_model import Misfortune
from tests.support.worker_model import ALL_GUARDS, URGENT, Guarded, ProcessModel
from tests.support.wrongs import wrongs

__all__ = ["GAP", "LEFT", "RIGHT", "OwnershipMachine"]

HOSTS = ("a", "b", "c")
GAP, LEFT, RIGHT = Place(URGENT, 0), Place("shards", 0), Place("shards", 1)
QUEUES = {GAP: ("gap",), LEFT: ("large", "large"), RIGHT: ("small", "large", "small")}
LONG_ENOUGH = 1_500
Some = TypeVar("Some")

hosts = st.sampled_from(HOSTS)
places = st.sampled_from(list(QUEUES))
# Which of several; what is out of range means the last.
numbers = st.integers(0, 3)


class OwnershipMachine(RuleBasedStateMachine):
    """Hosts on which workers live and die, and the broker; a rule that cannot be followed now does nothing."""

    guarded = ALL_GUARDS

    def __init__(self, guarded: Guarded | None = None, queues: Mapping[Place, Sequence[str]] = QUEUES) -> None:
        super().__init__()
        self.guarded, self.queues = guarded or self.guarded, queues
        self.group = GroupModel(queues)
        self.alive: dict[str, ProcessModel] = {}
        self.suspended: set[str] = set()
        self.started = self.queued = 0

    def awake(self, host: str) -> ProcessModel | None:
        return None if host in self.suspended else self.alive.get(host)

    # The group ---------------------------------------------------------------------------------------------------

    @initialize(
        rows=st.lists(st.integers(1, 3), min_size=6, max_size=6),
        apart=st.booleans(),
        begun=st.lists(st.integers(0, 40), max_size=2),
    )
    def plan(self, rows: list[int], apart: bool = False, begun: list[int] | None = None) -> None:
        """Queue shards of so many rows; `apart`: each in a transaction of its own. `begun`: how far workers are."""
        left = iter(rows)
        for place, jobs in self.queues.items():
            shards = [self._shard(job, next(left)) for job in jobs]
            for some in [[shard] for shard in shards] if apart else [shards]:
                self.group.enqueue(place, *some)
        for host, operations in zip(HOSTS, begun or [], strict=False):
            self.go_on(host, operations)

    @rule(place=places, rows=st.integers(1, 2))
    def queue(self, place: Place, rows: int) -> None:
        if self.queued < 8:
            self.group.enqueue(place, self._shard("late", rows))

    @rule(host=hosts, operations=st.integers(1, 60))
    def go_on(self, host: str, operations: int = 1) -> None:
        """Let a worker do what it usually does; it is started or woken up if need be."""
        self.suspended.discard(host)
        if host not in self.alive:
            self.started += 1
            self.alive[host] = ProcessModel(f"{host}{self.started}", self.group, self.guarded)
        self.alive[host].go_on(operations)

    @rule(turns=st.lists(st.tuples(hosts, st.integers(1, 20)), min_size=1, max_size=6))
    def all_go_on(self, turns: list[tuple[str, int]]) -> None:
        for host, operations in turns:
            self.go_on(host, operations)

    @rule(host=hosts)
    def leave(self, host: str) -> None:
        if process := self.awake(host):
            process.drain()
            self.crash(host)

    @rule(host=hosts, for_long=st.booleans())
    def suspend(self, host: str, for_long: bool = True) -> None:
        """Suspend a worker, for longer than its session lasts or not."""
        if process := self.awake(host):
            self.suspended.add(host)
            self._miss(process, for_long)

    @rule(host=hosts, steps=st.integers(0, 12), rejoin_at_once=st.booleans())
    def wake(self, host: str, steps: int = 0, rejoin_at_once: bool = True) -> None:
        """Wake a worker: its client finds out what became of it, and its slots go on, before its loop polls."""
        if host in self.suspended:
            self.suspended.remove(host)
            for _ in range(2):
                self.alive[host].client.heartbeat(rejoin_at_once=rejoin_at_once)
            for _ in range(steps):
                self.step(host, 1)
                self.step(host, 0)

    @rule(
        host=hosts, other=hosts, operations=st.integers(0, 40), steps=st.integers(0, 12), rejoin_at_once=st.booleans()
    )
    def lose(self, host: str, other: str, operations: int, steps: int = 12, rejoin_at_once: bool = True) -> None:
        """While a worker is suspended for too long, another goes on."""
        self.suspend(host)
        if other != host:
            self.go_on(other, operations)
        self.wake(host, steps, rejoin_at_once)

    @rule(host=hosts, noticed=st.booleans())
    def crash(self, host: str, noticed: bool = True) -> None:
        if host in self.alive:
            self.suspended.discard(host)
            self._miss(self.alive.pop(host), noticed)

    @rule()
    def evict(self) -> None:
        """The sessions of all end who send no heartbeats."""
        heard = {process.member for host, process in self.alive.items() if host not in self.suspended}
        for member in [member for member in self.group.members if member not in heard]:
            self.group.remove(member)

    @rule(place=places, number=numbers)
    def move(self, place: Place, number: int = 0) -> None:
        if self.group.members:
            self.group.move(place, chosen(list(self.group.members), number))

    # Workers -----------------------------------------------------------------------------------------------------

    @rule(host=hosts, lagging=st.booleans(), rejoin_at_once=st.booleans())
    def heartbeat(self, host: str, lagging: bool = False, rejoin_at_once: bool = False) -> None:
        if process := self.awake(host):
            process.client.heartbeat(lagging=lagging, rejoin_at_once=rejoin_at_once)

    @rule(host=hosts, most=st.integers(1, 4), slots_stop=st.booleans())
    def poll(self, host: str, most: int = 3, slots_stop: bool = True) -> None:
        if process := self.awake(host):
            process.poll(most, slots_stop=slots_stop)

    @rule(host=hosts, fault=st.sampled_from(FAULTS))
    def spoil(self, host: str, fault: Fault) -> None:
        """The records that a worker polls next do not reach it as they should."""
        if process := self.awake(host):
            process.fault = fault

    @rule(host=hosts, deaf=st.booleans())
    def dawdle(self, host: str, deaf: bool = True) -> None:
        """Reports of slots and openings reach a worker's loop only later."""
        if process := self.awake(host):
            process.deaf = deaf

    @rule(host=hosts, place=places)
    def cannot_read(self, host: str, place: Place) -> None:
        if process := self.awake(host):
            process.cannot_read(place)

    @rule(host=hosts, what=st.sampled_from(("hear", "hear again", "look", "claim")))
    def loop(self, host: str, what: str) -> None:
        """Let a worker's loop do one thing out of its usual order."""
        process = self.awake(host)
        if process is None:
            return
        match what:
            case "hear" if process.inbox:
                process.hear()
            case "hear again":
                process.hear_again()
            case "look":
                process.look()
            case "claim":
                process.claim()

    @rule(host=hosts, number=numbers)
    def answer(self, host: str, number: int = 0) -> None:
        """Let an opening learn what is committed."""
        process = self.awake(host)
        if process and process.openings:
            process.answer(min(number, len(process.openings) - 1))

    @rule(host=hosts, number=numbers, misfortune=st.sampled_from(["", "", "unanswered", "late"]))
    def step(self, host: str, number: int = 0, misfortune: Misfortune = "") -> None:
        """Let a slot make one request."""
        process = self.awake(host)
        if process and process.slots:
            process.step(min(number, len(process.slots) - 1), misfortune)

    # Orders and mishaps ------------------------------------------------------------------------------------------

    @rule(host=hosts, number=numbers)
    def release(self, host: str, number: int = 0) -> None:
        process = self.awake(host)
        if process and process.account.running:
            process.release(chosen(list(process.account.running), number))

    @rule(place=places, number=numbers)
    def cancel(self, place: Place, number: int = 0) -> None:
        if len(self.group.cancelled) < 2:
            self.group.cancelled.add(chosen(list(self.group.queues[place].values()), number).id)

    @rule(number=numbers)
    def time_out(self, number: int = 0) -> None:
        """The broker aborts a transaction that has been open for too long."""
        if ids := self.group.open_ids():
            self.group.take_over(chosen(ids, number))

    @rule(number=numbers)
    def arrive(self, number: int = 0) -> None:
        """A request comes in for whose answer no one waits."""
        if self.group.late:
            with suppress(Fenced, Refused):
                self.group.late.pop(min(number, len(self.group.late) - 1))()

    # What must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        found = wrongs(self.group)
        assert not found, "; ".join(found)
        for process in self.alive.values():
            process.check()

    def settle(self) -> None:
        """All but one worker are killed, and no transaction is given the time to time out."""
        last = next((host for host in self.alive if host not in self.suspended), HOSTS[0])
        for host in HOSTS:
            if host != last or host in self.suspended:
                self.crash(host)
        self.evict()
        self.dawdle(last, False)
        self.until(self.group.everything_ended, last, at_once=10)

    def teardown(self) -> None:
        if sys.exc_info()[1] is None:  # else a rule has failed, which is what should be heard of
            self.settle()
            self.check()

    def until(self, done: Callable[[], bool], *hosts: str, at_once: int = 1) -> None:
        """Let workers go on, in turns, until something is so."""
        for _ in range(0, LONG_ENOUGH, at_once):
            if done():
                return
            for host in hosts:
                self.go_on(host, at_once)
        raise AssertionError(f"{hosts} are left in peace, and do not come to an end")

    # Inside ------------------------------------------------------------------------------------------------------

    def _miss(self, process: ProcessModel, noticed: bool) -> None:
        if noticed and process.member in self.group.members:
            self.group.remove(process.member)

    def _shard(self, job: str, rows: int) -> Shard:
        self.queued += 1
        return shard_of(str(self.queued), job=job, estimated_rows=rows)


def chosen(some: list[Some], number: int) -> Some:
    return some[min(number, len(some) - 1)]
