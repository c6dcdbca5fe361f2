"""A switch that ends waiting from outside: whoever closes a stream need not wait for what the stream waits for."""

from __future__ import annotations

import threading
from typing import Any

from streams.errors import SeamlessError
from streams.provider.calls import Pending

__all__ = ["Stopped", "Switch"]


class Stopped(SeamlessError):  # noqa: N818 - named for what happened
    """Somebody stopped the fetch or stream while it waited; nothing is wrong."""


class Switch:
    """One thread waits; any thread may stop it, for good."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._pending: Pending[Any] | None = None

    def stop(self) -> None:
        """Let whatever waits, and will wait, raise Stopped."""
        self._stopped.set()
        pending = self._pending
        if pending is not None:
            pending.wake()

    def wait(self, pending: Pending[Any], seconds: float | None) -> bool:
        """Wait for a call to end, None for as long as it takes; return whether it did.

        Raises:
            Stopped: if it did not, and `stop` was called.
        """
        self._pending = pending  # before the look at the event, so that a stop between the two wakes the wait
        try:
            ended = pending.ended if self._stopped.is_set() else pending.wait(seconds)
        finally:
            self._pending = None
        if not ended:
            self.check()
        return ended

    def pause(self, seconds: float) -> None:
        """Wait so long; Stopped if `stop` was called."""
        self._stopped.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise Stopped if `stop` was called."""
        if self._stopped.is_set():
            raise Stopped("the reading was stopped while it waited: nothing is wrong")
