"""Changes for any number of listeners: one thread for each job that is watched, whoever and however many watch it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from coordinator.protocol import CoordinatorUnavailable, ProgressEvent
from coordinator.service.calls import Calls
from coordinator.wire import HEARTBEAT_S
from streams.errors import SeamlessError
from streams.log import get_logger

__all__ = ["EventHub", "EventResponse", "as_text"]

log = get_logger("coordinator")

BEHIND = 10_000  # changes kept for a listener that does not take them; then it is let go, to look anew
MOST_LISTENERS = 500

Told = asyncio.Queue[ProgressEvent | None]


class EventHub:
    """Hands changes to those who listen; used in the event loop alone, but for `end`.

    A listener costs a queue and no thread, and the thread that watches for it ends with the last listener of its job.
    Listeners are let go (their streams end, and clients connect anew) when they fall behind, when watching fails, and
    when the service ends.
    """

    def __init__(self, calls: Calls, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.heartbeat_s = heartbeat_s
        self._calls = calls
        self._channels: dict[str | None, _Channel] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False

    @property
    def listeners(self) -> int:
        """Return how many listen now."""
        return sum(len(channel.listeners) for channel in list(self._channels.values()))

    def start(self) -> None:
        """Belong to the event loop that runs."""
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """Let all listeners go, and take no more; any thread may call it, any number of times."""
        self._ended = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and nobody listens
                self._loop.call_soon_threadsafe(self._let_go)

    async def listen(self, job: str | None) -> EventResponse:
        """Return the answer that tells the changes of all jobs or of one, from now on.

        Raises:
            NotFound: if there is no such job.
            CoordinatorUnavailable: if nothing can be watched now.
        """
        if self._ended:
            raise CoordinatorUnavailable("The service is ending; another replica may answer.")
        if self.listeners >= MOST_LISTENERS:
            raise CoordinatorUnavailable(f"{MOST_LISTENERS} clients watch already; another replica may answer.")
        if job not in self._channels:
            watch = await self._calls.read(self._calls.coordinator.watch, job)
            if job in self._channels or self._ended:  # by another listener, while this one waited
                _close(watch)
            else:
                self._channels[job] = _Channel(watch, asyncio.get_running_loop(), lambda: self._gone(job))
        channel = self._channels.get(job)
        if channel is None:
            raise CoordinatorUnavailable("Watching ended as soon as it had begun; try again.")
        told = channel.join()

        def leave() -> None:
            channel.leave(told)
            self._gone(job)

        return EventResponse(told, self.heartbeat_s, leave)

    def _gone(self, job: str | None) -> None:
        channel = self._channels.get(job)
        if channel is not None and not channel.listeners:
            del self._channels[job]
            channel.close()

    def _let_go(self) -> None:
        for job, channel in list(self._channels.items()):
            channel.dismiss_all()
            self._gone(job)


class EventResponse(StreamingResponse):
    """Changes as server-sent events, with a comment whenever there is none for a while."""

    def __init__(self, told: Told, heartbeat_s: float, leave: Callable[[], None]) -> None:
        self._leave = leave
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_texts(told, heartbeat_s), headers=headers, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until the client hangs up or is let go; either way it listens no more."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def _texts(told: Told, heartbeat_s: float) -> AsyncIterator[str]:
    yield ": listening\n\n"
    while True:
        try:
            async with asyncio.timeout(heartbeat_s):
                event = await told.get()
        except TimeoutError:
            yield ": nothing new\n\n"
            continue
        if event is None:
            return
        yield as_text(event)


class _Channel:
    """Those who listen to one job, or to all, and the thread that watches for them."""

    def __init__(
        self, watch: Iterator[ProgressEvent], loop: asyncio.AbstractEventLoop, gone: Callable[[], None]
    ) -> None:
        self.listeners: set[Told] = set()
        self._watch, self._loop, self._gone = watch, loop, gone
        threading.Thread(target=self._run, name="coordinator events", daemon=True).start()

    def join(self) -> Told:
        """Return the changes from now on; None in it is the end."""
        told: Told = asyncio.Queue(BEHIND)
        self.listeners.add(told)
        return told

    def leave(self, told: Told) -> None:
        """Listen no more."""
        self.listeners.discard(told)

    def dismiss_all(self) -> None:
        """Let all listeners go."""
        for told in list(self.listeners):
            self._dismiss(told)

    def close(self) -> None:
        """Stop watching."""
        _close(self._watch)

    def _run(self) -> None:
        try:
            for event in self._watch:
                self._tell(self._publish, event)
        except SeamlessError as error:
            log.warning("coordinator_watch_interrupted", error=str(error))
        except Exception:
            log.exception("coordinator_watch_failed")
        self._tell(self._end)

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody listens
            self._loop.call_soon_threadsafe(what, *arguments)

    def _publish(self, event: ProgressEvent) -> None:
        for told in list(self.listeners):
            try:
                told.put_nowait(event)
            except asyncio.QueueFull:
                self._dismiss(told)

    def _end(self) -> None:
        self.dismiss_all()
        self._gone()

    def _dismiss(self, told: Told) -> None:
        self.listeners.discard(told)
        if told.full():
            told.get_nowait()
        told.put_nowait(None)


def _close(watch: Iterator[ProgressEvent]) -> None:
    closing = getattr(watch, "close", None)
    if closing is not None:
        with suppress(ValueError):  # a generator that a thread is in; it ends with the coordinator
            closing()


def as_text(event: ProgressEvent) -> str:
    """Return a change as an event of a stream, in ASCII, so that no character of it ends a line."""
    return f"event: {event.kind}\ndata: {json.dumps(event.model_dump(mode='json'), separators=(',', ':'))}\n\n"
