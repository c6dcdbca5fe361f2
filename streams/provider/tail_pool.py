"""The consumers of a provider: few, kept between fetches, each for one fetch at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streams.clock import Deadline
from streams.errors import BrokerError, SeamlessError
from streams.provider.tail import TailReader
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["TailPool"]

_MOST = 4
_TURN_S = 30.0


class TailPool:
    """Lends readers of tails; any thread may ask.

    A lender waits for its turn where all are lent, so that a hundred fetches at once make no hundred consumers. What
    hangs in a reader hangs in its own thread; a reader that failed is closed and not lent again.

    Args:
        most: so many at once.

    Attributes:
        made: how many consumers were ever made.
    """

    def __init__(self, settings: Settings, *, most: int = _MOST) -> None:
        self._settings = settings
        self._turns = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[TailReader] = []
        self._registry: Registry | None = None
        self._closed = False
        self.made = 0

    @contextmanager
    def lent(self) -> Iterator[TailReader]:
        """Lend a reader for a block.

        Raises:
            BrokerError: if all are lent for too long, as where the broker hangs.
        """
        if not self._turns.acquire(timeout=_TURN_S):
            raise BrokerError(
                f"Kafka at {self._settings.kafka.bootstrap_servers}: all readers are waiting for it. Look whether it "
                "is well."
            )
        reader: TailReader | None = None
        try:
            reader = self._one()
            yield reader
        except BaseException:
            if reader is not None:
                threading.Thread(target=reader.close, name="seamless-broker-close", daemon=True).start()
            raise
        else:
            self._back(reader)
        finally:
            self._turns.release()

    def close(self, seconds: float) -> None:
        """Close the readers that nobody has, waiting no longer than this; those that are lent follow by themselves."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            registry, self._registry = self._registry, None
        deadline = Deadline(seconds)
        closing = [threading.Thread(target=reader.close, daemon=True) for reader in idle]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(deadline.left())
        if registry is not None:
            registry.close()

    def _one(self) -> TailReader:
        with self._lock:
            if self._closed:
                raise SeamlessError("the provider is closed: make a new one")
            if self._idle:
                return self._idle.pop()
            if self._registry is None:
                self._registry = Registry(self._settings.registry)
            registry = self._registry
            self.made += 1
        return TailReader(self._settings, registry)

    def _back(self, reader: TailReader) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(reader)
                return
        reader.close()
