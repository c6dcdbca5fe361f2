"""Calls that may hang, cut short: the caller goes on at its deadline, whatever the call does.

Nothing can end a thread that waits in a socket or in a native library. So a call runs on a daemon thread of its own,
and whoever waits for it leaves when its time is up; the thread is left behind and ends when the call does. That must
not grow without bound: of each target (one archive, one coordinator, one broker) only so many calls run at once, and
when a few in a row hang, a further one is refused at once, as it would hang too, until one ends.

This is the last resort. Adapters have timeouts of their own, which give a thread back after a while.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from streams.clock import Deadline, monotonic
from streams.log import get_logger

__all__ = ["PROCESS_CALLS", "Calls", "Kind", "Pending", "Target", "Timeout"]

Kind = Literal["storage", "coordinator", "broker", "registry"]
T = TypeVar("T")

_MOST_STUCK = 8
_MOST_RUNNING = 64
_PROBE_S = 30.0

log = get_logger("provider")


@dataclass(frozen=True, slots=True)
class Timeout:
    """No answer in time, which is a value, as going on without it may be right.

    Attributes:
        kind, where: the target.
        seconds: how long was waited.
        refused: whether it was not even asked, as earlier calls hang.
        stuck: how many calls to the target hang now.
    """

    kind: Kind
    where: str
    seconds: float
    refused: bool
    stuck: int

    @property
    def reason(self) -> str:
        """What happened, in words."""
        name = f"the {self.kind} {self.where}".rstrip()
        if self.refused:
            return f"{name} was not asked, as {self.stuck} earlier calls to it still hang"
        return f"{name} gave no answer within {self.seconds:.3g} s"


class Target:
    """Something that is called and may hang.

    Args:
        kind: what it is.
        where: which one, such as its address; for messages.
        most_stuck: when so many calls hang and none ended since, further ones are refused.
        most_running: so many threads at most, hanging or not; a further call waits for its turn.
        probe_s: seconds after which one call is let through to see whether the target is back.
        now: a clock that never goes back.
    """

    def __init__(
        self,
        kind: Kind,
        where: str = "",
        *,
        most_stuck: int = _MOST_STUCK,
        most_running: int = _MOST_RUNNING,
        probe_s: float = _PROBE_S,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.kind, self.where = kind, where
        self._most_stuck, self._most_running = most_stuck, most_running
        self._probe_s, self._now = probe_s, now
        self._changed = threading.Condition()
        self._running = self._stuck = self._stuck_in_a_row = 0
        self._probe_at = 0.0

    @property
    def stuck(self) -> int:
        """How many calls hang: they go on though nobody waits for them."""
        return self._stuck

    @property
    def running(self) -> int:
        """How many calls go on, those that hang included."""
        return self._running

    def start(self, call: Callable[[], T], seconds: float | None) -> Pending[T] | Timeout:
        """Begin a call on a thread of its own, waiting at most `seconds` for its turn; None waits for the end.

        With a limit it is refused at once while the target hangs.
        """
        deadline = None if seconds is None else Deadline(seconds)
        with self._changed:
            while not self._turn():
                hangs = self._hangs()
                if deadline is not None and (hangs or deadline.passed()):
                    return self.timeout(seconds or 0.0, refused=hangs)
                self._changed.wait(self._probe_s if deadline is None else deadline.left())
            self._running += 1
            self._probe_at = self._now() + self._probe_s
        pending = Pending(self, call)
        try:
            pending.begin()
        except RuntimeError as error:  # the system gives no more threads
            log.warning("call_not_started", target=self.kind, error=str(error))
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
            return self.timeout(0.0, refused=True)
        return pending

    def within(self, seconds: float | None, call: Callable[[], T]) -> T | Timeout:
        """Return what a call returns, or a Timeout when the seconds are over; None waits for the end.

        With no time left it is not called at all.

        Raises:
            BaseException: what the call raises in time.
        """
        if seconds is not None and seconds <= 0:
            return self.timeout(0.0)
        deadline = None if seconds is None else Deadline(seconds)
        pending = self.start(call, seconds)
        if isinstance(pending, Timeout):
            return pending
        try:
            if pending.wait(None if deadline is None else deadline.left()):
                return pending.result()
        finally:
            pending.abandon()
        return self.timeout(seconds or 0.0)

    def timeout(self, seconds: float, *, refused: bool = False) -> Timeout:
        """Return the value that says that it gave no answer."""
        return Timeout(self.kind, self.where, seconds, refused, self._stuck)

    def _turn(self) -> bool:
        is_probe = self._now() >= self._probe_at
        return self._running < self._most_running and (is_probe or not self._hangs())

    def _hangs(self) -> bool:
        return self._stuck_in_a_row >= self._most_stuck or self._stuck >= self._most_running

    def _abandon(self, pending: Pending[Any]) -> None:
        with self._changed:
            if not pending.ended:
                pending.abandoned = True
                self._stuck += 1
                self._stuck_in_a_row += 1
                self._changed.notify_all()

    def _end(self, pending: Pending[Any]) -> None:
        with self._changed:
            pending.ended = True
            self._running -= 1
            self._stuck -= pending.abandoned
            self._stuck_in_a_row = 0
            self._changed.notify_all()


class Pending(Generic[T]):
    """A call that goes on."""

    def __init__(self, target: Target, call: Callable[[], T]) -> None:
        self.ended = self.abandoned = False
        self._target, self._call = target, call
        self._woken = threading.Event()
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._context = contextvars.copy_context()

    def begin(self) -> None:
        """Start the thread; RuntimeError if there are no more."""
        threading.Thread(target=self._run, name=f"seamless-{self._target.kind}", daemon=True).start()

    def wait(self, seconds: float | None) -> bool:
        """Wait for the end of the call, or for `wake`; return whether it ended."""
        self._woken.wait(seconds if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        return self.ended

    def wake(self) -> None:
        """Let whoever waits go on, from any thread."""
        self._woken.set()

    def result(self) -> T:
        """Return what the call returned, or raise what it raised; only after its end."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # or it would hold the frames that hold it
        return self._values[0]

    def abandon(self) -> None:
        """Say that nobody waits any more; nothing happens if the call has ended."""
        self._target._abandon(self)

    def _run(self) -> None:
        try:
            self._values.append(self._context.run(self._call))
        except BaseException as error:
            self._error = error
        self._target._end(self)
        self._woken.set()
        if self.abandoned:
            log.debug("late_call_ended", target=self._target.kind, where=self._target.where)


class Calls:
    """The targets of a process, each by its kind and place."""

    def __init__(self, *, most_stuck: int = _MOST_STUCK, most_running: int = _MOST_RUNNING) -> None:
        self._most_stuck, self._most_running = most_stuck, most_running
        self._targets: dict[tuple[Kind, str], Target] = {}
        self._lock = threading.Lock()

    def target(self, kind: Kind, where: str = "") -> Target:
        """Return the target of a kind at a place: the same one each time."""
        with self._lock:
            found = self._targets.get((kind, where))
            if found is None:
                found = Target(kind, where, most_stuck=self._most_stuck, most_running=self._most_running)
                self._targets[kind, where] = found
            return found


PROCESS_CALLS = Calls()
"""One for all that runs in this process: whoever makes a new provider for each fetch must not grow threads either."""
