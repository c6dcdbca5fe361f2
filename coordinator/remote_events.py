"""The service's stream of changes as an iterator that connects anew by itself."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Self

import httpx
from pydantic import ValidationError

from coordinator.protocol import CoordinatorUnavailable, JobStatus, ProgressEvent
from coordinator.remote import Remote
from coordinator.wire import HEARTBEAT_S
from streams import clock

__all__ = ["EventStream"]

_SILENCE_S = 3 * HEARTBEAT_S  # a service that is there is never silent for so long
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0


class EventStream(Iterator[ProgressEvent]):
    """Changes as they happen; one thread iterates, any may close.

    It listens when it is made, so what happens after that is told. A stream that breaks, or falls silent for longer
    than the service ever is, is opened anew, for as long as calls would be tried in all; then the state of each job is
    told first.

    Args:
        look: returns the jobs that are watched.
    """

    def __init__(self, remote: Remote, job: str | None, look: Callable[[str | None], list[JobStatus]]) -> None:
        self._remote, self._job, self._look = remote, job, look
        self._closed, self._reading = threading.Event(), threading.Lock()
        self._response: httpx.Response | None = None
        self._lines: Iterator[str] = iter(())
        self._told: deque[ProgressEvent] = deque()
        self._connect()

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> ProgressEvent:
        """Return the next change; the iteration ends when it was closed.

        Raises:
            CoordinatorUnavailable: if the service stays away.
        """
        with self._reading:
            return self._next()

    def _next(self) -> ProgressEvent:
        while not self._ended():
            if self._told:
                return self._told.popleft()
            try:
                event = self._read()
            except (httpx.HTTPError, httpx.StreamError, StopIteration, OSError):
                self._let_go()
                if not self._ended():
                    self._connect()
                    self._catch_up()
                continue
            if event is not None:
                return event
        self._let_go()
        raise StopIteration

    def close(self) -> None:
        """End the iteration, also while another thread waits in it."""
        self._closed.set()
        response = self._response
        if response is not None:
            stream = response.extensions.get("network_stream")
            connection: Any = None if stream is None else stream.get_extra_info("socket")
            if connection is not None:
                with suppress(OSError):  # broken already
                    connection.shutdown(socket.SHUT_RDWR)
        if self._reading.acquire(blocking=False):  # nobody is in it who would
            self._let_go()
            self._reading.release()

    def _ended(self) -> bool:
        return self._closed.is_set() or self._remote.closed

    def _connect(self) -> None:
        """Listen, and wait until the service says that it has us."""
        patience = clock.Deadline(self._remote.timeout_s * (self._remote.retries + 1))
        pause, why = _PAUSE_S, "this client was closed"
        while not self._ended():
            try:
                self._response = self._remote.open("/v1/events", {"job": self._job}, _SILENCE_S)
                self._lines = self._response.iter_lines()
                next(self._lines)
            except (httpx.HTTPError, httpx.StreamError, StopIteration, OSError) as error:
                why = f"{type(error).__name__}: {error}"
            except CoordinatorUnavailable as error:
                why = str(error)
            else:
                return
            self._let_go()
            if patience.passed() or self._closed.wait(pause):
                break
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise self._remote.unavailable(why)

    def _catch_up(self) -> None:
        now = clock.now()
        for job in self._look(self._job):
            self._told.append(ProgressEvent(kind="job", id=job.id, job=job.id, state=job.state, rows=job.rows, at=now))

    def _read(self) -> ProgressEvent | None:
        """Return the change of the next event; None for a comment, or for a kind that a newer service tells of."""
        data: list[str] = []
        for line in self._lines:
            if not line:
                break
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
        else:
            raise StopIteration
        if not data:
            return None
        try:
            return ProgressEvent.model_validate_json("\n".join(data), extra="ignore")
        except ValidationError:
            return None

    def _let_go(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            with suppress(httpx.HTTPError, OSError):
                response.close()
