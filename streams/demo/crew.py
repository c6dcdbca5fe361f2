"""The demo's workers: processes of `seamless worker`, one of which will be killed."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep

from coordinator.members import Members
from operations.stack.processes import ProcessRef, tail
from streams.clock import Deadline
from streams.demo.failed import DemoFailed
from streams.demo.place import Place
from streams.settings import Settings

__all__ = ["WORKERS", "Crew", "Hand", "working"]

WORKERS = 3
_JOINED_SECONDS = 60.0
_STOP_SECONDS = 20.0
_ASK_SECONDS = 0.2
_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Hand:
    """A worker; `host` is how it names itself in every record that it writes."""

    number: int
    process: ProcessRef
    host: str

    @property
    def name(self) -> str:
        """What it is called here."""
        return f"worker {self.number}"


class Crew:
    """The workers that were started, the dead ones included.

    Attributes:
        numbers: by the names that workers give themselves.
    """

    def __init__(self, place: Place, hands: list[Hand]) -> None:
        self._place, self.hands = place, hands
        self.numbers: Mapping[str, int] = {hand.host: hand.number for hand in hands}
        self._killed: set[int] = set()

    def of(self, host: str) -> Hand:
        """Return the worker of a name; KeyError if it is none of ours."""
        return self.hands[self.numbers[host] - 1]

    def await_members(self, settings: Settings, queue: str) -> int:
        """Wait until each worker has its equal share of a queue's partitions; return how many those are.

        Raises:
            DemoFailed: if that takes too long, or a worker ends.
            BrokerError: if Kafka does not answer.
        """
        members, deadline = Members(settings), Deadline(_JOINED_SECONDS)
        share = settings.topics.shard_partitions // len(self.hands)
        while True:
            counts = {member.host: sum(p.queue == queue for p in member.places) for member in members.now()}
            if all(counts.get(hand.host) == share for hand in self.hands):
                return share
            self.require_alive()
            if deadline.passed():
                raise DemoFailed(f"the workers did not come together within {deadline.seconds:g} s{self._logs()}")
            sleep(_ASK_SECONDS)

    def require_alive(self) -> None:
        """Raise DemoFailed if a worker that nobody killed has ended."""
        gone = [h for h in self.hands if h.number not in self._killed and not h.process.alive()]
        if gone:
            raise DemoFailed(f"{gone[0].name} ended{self._logs(gone[0])}")

    def kill(self, hand: Hand) -> None:
        """Kill a worker as the kernel or a power cut would: it has no time to tell anybody."""
        self._killed.add(hand.number)
        hand.process.kill()

    def end(self) -> None:
        """Ask those that are left to end: they leave the group, and go.

        Raises:
            DemoFailed: if one does not.
        """
        for hand in self.hands:
            hand.process.send(signal.SIGTERM)
        deadline = Deadline(_STOP_SECONDS)
        for hand in self.hands:
            if not hand.process.wait(deadline):
                raise DemoFailed(f"{hand.name} did not end within {_STOP_SECONDS:g} s of being asked to")

    def _logs(self, *hands: Hand) -> str:
        texts = (tail(self._place.log(_log_of(h.number)), _LOG_LINES) for h in hands or self.hands)
        return ". Its log says:\n" + "\n".join(texts) if hands else ". Their logs say:\n" + "\n".join(texts)


@contextmanager
def working(place: Place) -> Iterator[Crew]:
    """Run workers while the block runs."""
    hands: list[Hand] = []
    try:
        for number in range(1, WORKERS + 1):
            process = place.start("worker", _log_of(number))
            hands.append(Hand(number, process, f"{socket.gethostname()}:{process.pid}"))
        yield Crew(place, hands)
    finally:
        for hand in hands:
            hand.process.kill()


def _log_of(number: int) -> str:
    return f"worker-{number}"
