"""Calls of the coordinator from the event loop: answered in time or unavailable, and what steers delays no reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from coordinator.protocol import BackfillCoordinator, CoordinatorUnavailable

__all__ = ["PATIENCE_S", "Calls"]

T = TypeVar("T")

READERS = 16
WRITERS = 8
PATIENCE_S = 9.0  # less than clients wait (seamless.coordinator.timeout_s), so that they hear why there is no answer


class Calls:
    """A coordinator whose methods may wait, for callers that may not.

    Reading answers from memory; steering waits for Kafka, and for as long as it takes while Kafka or the registry is
    away. So each has threads of its own, and no more of them than these, however many ask.
    """

    def __init__(self, coordinator: BackfillCoordinator, *, patience_s: float = PATIENCE_S) -> None:
        self.coordinator = coordinator
        self._patience_s = patience_s
        self._readers = ThreadPoolExecutor(READERS, "coordinator read")
        self._writers = ThreadPoolExecutor(WRITERS, "coordinator write")
        self._waiting: set[asyncio.Future[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Belong to the event loop that runs."""
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """Answer all who wait that nothing is known; any thread may call it, any number of times.

        What is in flight then is whole in Kafka or not there at all.
        """
        for pool in (self._readers, self._writers):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                self._loop.call_soon_threadsafe(self._drop)

    async def read(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call what only reads.

        Raises:
            CoordinatorUnavailable: if it takes too long, or the service ends.
        """
        return await self._answer(self._readers, partial(call, *arguments, **named))

    async def write(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call what changes something, or takes long; errors as `read`."""
        return await self._answer(self._writers, partial(call, *arguments, **named))

    async def _answer(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        try:
            future: asyncio.Future[T] = asyncio.get_running_loop().run_in_executor(pool, call)
        except RuntimeError:  # the pool was shut down
            raise CoordinatorUnavailable("The service is ending; another replica may answer.") from None
        self._waiting.add(future)
        try:
            done, _ = await asyncio.wait({future}, timeout=self._patience_s)
        finally:
            self._waiting.discard(future)
        if not done:
            future.cancel()
            raise CoordinatorUnavailable(
                f"There was no answer within {self._patience_s:g} s: Kafka or the registry may be away."
            )
        if future.cancelled():
            raise CoordinatorUnavailable("The service is ending; another replica may answer.")
        return future.result()

    def _drop(self) -> None:
        for future in list(self._waiting):
            future.cancel()
