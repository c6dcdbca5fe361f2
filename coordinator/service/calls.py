"""Calls of the coordinator from the event loop, each in a thread: what steers cannot keep what only reads waiting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from coordinator.protocol import BackfillCoordinator

__all__ = ["Calls"]

T = TypeVar("T")

READERS = 16
WRITERS = 8


class Calls:
    """A coordinator whose methods may wait, for callers that may not.

    Reading answers from memory; steering waits for Kafka, and for as long as it takes while Kafka or the registry is
    away. So each has threads of its own.
    """

    def __init__(self, coordinator: BackfillCoordinator) -> None:
        self.coordinator = coordinator
        self._readers = CapacityLimiter(READERS)
        self._writers = CapacityLimiter(WRITERS)

    async def read(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call what only reads."""
        return await _in_thread(partial(call, *arguments, **named), self._readers)

    async def write(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call what changes something, or takes long."""
        return await _in_thread(partial(call, *arguments, **named), self._writers)


async def _in_thread(call: Callable[[], T], limiter: CapacityLimiter) -> T:
    # Abandoned when the service ends: what is in flight then is whole in Kafka or not there at all.
    return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
