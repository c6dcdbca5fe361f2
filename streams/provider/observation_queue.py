"""Observations on their way out: taken without waiting, carried by a thread of their own, dropped if that is slow."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from coordinator.retries import Backoff
from streams.clock import Deadline, monotonic
from streams.log import get_logger
from streams.provider.observations import Observation

__all__ = ["DROP_REASONS", "ObservationQueue", "Sink"]

DROP_REASONS = ("queue_full", "undelivered", "closed")

_MOST_WAITING = 10_000
_POLL_S = 0.1
_GRACE_S = 0.5  # for the sink to count what it gives up
_TELL_EVERY_S = 60.0
_PAUSES_S = (1.0, 30.0)

log = get_logger("provider")


class Sink(Protocol):
    """Where observations go; used by one thread only, which may wait in it."""

    def send(self, told: Observation) -> None:
        """Hand one over; what it raises makes this sink unusable."""
        ...

    def poll(self, seconds: float) -> None:
        """Hear what became of those handed over."""
        ...

    @property
    def waiting(self) -> int:
        """How many are handed over of which nothing was heard."""
        ...

    def close(self, seconds: float) -> None:
        """Wait so long for those, and give up the rest."""
        ...


class ObservationQueue:
    """Takes observations from any thread, without waiting and without failing.

    The sink is opened at the first one, and again after a pause if that fails or if it breaks. What does not fit, is
    not delivered or is left at the end is counted and, once a minute, logged.

    Args:
        open_sink: is given what to call with the number of those that the sink could not deliver.
        on_dropped: is told a reason of DROP_REASONS and how many.
        most: how many may wait.
        now: a clock that never goes back.
    """

    def __init__(
        self,
        open_sink: Callable[[Callable[[int], None]], Sink],
        on_dropped: Callable[[str, int], None],
        *,
        most: int = _MOST_WAITING,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._open_sink, self._on_dropped, self._most, self._now = open_sink, on_dropped, most, now
        self._waiting: deque[Observation] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sink: Sink | None = None
        self._closing: Deadline | None = None
        self._untold: Counter[str] = Counter()
        self._tell_at = self._complain_at = float("-inf")

    @property
    def waiting(self) -> int:
        """How many are neither delivered nor dropped."""
        sink = self._sink
        return len(self._waiting) + (0 if sink is None else sink.waiting)

    def write(self, told: Observation) -> None:
        """Take one, or drop it."""
        reason = None
        with self._changed:
            if self._closing is not None:
                reason = "closed"
            elif len(self._waiting) >= self._most:
                reason = "queue_full"
            else:
                self._waiting.append(told)
                self._changed.notify_all()
                self._started()
        if reason is not None:
            self._dropped(reason, 1)

    def close(self, seconds: float) -> None:
        """Wait so long for what is on its way, drop the rest, and take no more; a second call does nothing."""
        with self._changed:
            if self._closing is not None:
                return
            self._closing = Deadline(seconds)
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds + _GRACE_S)
        with self._changed:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self._dropped("closed", left)
        self._tell()

    # On the queue's own thread

    def _started(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="seamless-observations", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # the system gives no more threads; the next one tries again
                log.warning("observations_not_started", error=str(error))
                self._thread = None

    def _run(self) -> None:
        pauses = Backoff(*_PAUSES_S)
        while True:
            with self._changed:
                self._changed.wait_for(
                    self._has_work, _POLL_S if self._sink is not None and self._sink.waiting else None
                )
                closing = self._closing
            if closing is not None and (not self._waiting or closing.passed()):
                break
            try:
                self._carry()
                pauses.reset()
            except Exception as error:
                self._sink_broke(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing is not None, pauses.next())
                if self._closing is not None:
                    break
        if self._sink is not None:
            self._sink.close(0.0 if closing is None else closing.left())

    def _has_work(self) -> bool:
        return bool(self._waiting) or self._closing is not None

    def _carry(self) -> None:
        if self._sink is None:
            if not self._waiting:
                return
            self._sink = self._open_sink(lambda count: self._dropped("undelivered", count))
        while self._waiting:
            told = self._waiting.popleft()
            try:
                self._sink.send(told)
            except Exception:
                self._dropped("undelivered", 1)
                raise
            if self._closing is not None and self._closing.passed():
                break
        self._sink.poll(0)

    def _sink_broke(self, error: Exception) -> None:
        if self._now() >= self._complain_at:
            self._complain_at = self._now() + _TELL_EVERY_S
            log.warning("sla_observations_wait", error=str(error), waiting=len(self._waiting))
        broken, self._sink = self._sink, None
        if broken is not None:
            broken.close(0.0)

    def _dropped(self, reason: str, count: int) -> None:
        self._on_dropped(reason, count)
        with self._changed:
            self._untold[reason] += count
            if self._now() < self._tell_at:
                return
            self._tell_at = self._now() + _TELL_EVERY_S
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            untold, self._untold = dict(self._untold), Counter()
        if untold:
            log.warning("sla_observations_dropped", **untold)
