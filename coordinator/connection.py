"""What a coordinator in process holds open: the registry, the feed and the ledger, made at the first use."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from coordinator import decisions
from coordinator.feed import Feed
from coordinator.ledger import Ledger
from coordinator.records import ControlPlane, Event
from streams.clock import now_ms
from streams.errors import BrokerError, SeamlessError
from streams.log import get_logger
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["Connection"]

log = get_logger("coordinator")

_MENDER_WAIT_S = 5.0
_MENDER_PAUSE_S = (0.2, 1.0)


class Connection:
    """Opened at the first use, and anew at the next if that failed. Any thread may use it.

    Args:
        registry: shared with the caller, who closes it; made from the settings if not given.
    """

    def __init__(self, settings: Settings, registry: Registry | None, *, deadline_s: float, leases: bool) -> None:
        self._settings, self._deadline_s, self._leases = settings, deadline_s, leases
        self._registry, self._owned = registry, registry is None
        self._plane: ControlPlane | None = None
        self._feed: Feed | None = None
        self._ledger: Ledger | None = None
        self._mender: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def registry(self) -> Registry:
        """Return the registry."""
        with self._turn():
            return self._opened_registry()

    def plane(self) -> ControlPlane:
        """Return the topics and codecs; BrokerError or RegistryError if they cannot be looked up."""
        with self._turn():
            return self._opened_plane()

    def feed(self) -> Feed:
        """Return the feed; errors as `plane`."""
        with self._turn():
            if self._stop.is_set():
                raise SeamlessError("this coordinator is closed: open another one")
            if self._feed is not None and self._feed.failed:
                failed, self._feed, self._ledger = (self._feed, self._ledger), None, None
                failed[0].close()
                if failed[1] is not None:
                    failed[1].close()
            if self._feed is None:
                self._feed = Feed(self._settings, self._opened_plane(), leases=self._leases)
            if self._mender is None:
                self._mender = threading.Thread(target=self._mend, name="backfill-mender", daemon=True)
                self._mender.start()
            return self._feed

    def ledger(self) -> Ledger:
        """Return the ledger; errors as `plane`."""
        feed = self.feed()
        with self._turn():
            if self._ledger is None:
                self._ledger = Ledger(self._settings, self._opened_plane(), feed, deadline_s=self._deadline_s)
            return self._ledger

    def close(self) -> None:
        """Let go of everything; a second call does nothing."""
        self._stop.set()
        with self._lock:
            feed, ledger, mender = self._feed, self._ledger, self._mender
            self._feed = self._ledger = self._mender = None
        if feed is not None:
            feed.close()
        if mender is not None:
            mender.join()
        if ledger is not None:
            ledger.close()
        with self._lock:
            registry, self._registry = self._registry, None
        if registry is not None and self._owned:
            registry.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for whoever is connecting, and no longer than connecting may take."""
        if not self._lock.acquire(timeout=self._deadline_s):
            raise BrokerError(f"Kafka at {self._settings.kafka.bootstrap_servers} did not answer in time")
        try:
            yield
        finally:
            self._lock.release()

    def _opened_registry(self) -> Registry:
        if self._registry is None:
            self._registry = Registry(self._settings.registry)
        return self._registry

    def _opened_plane(self) -> ControlPlane:
        if self._plane is None:
            self._plane = ControlPlane.prepare(self._settings, self._opened_registry(), timeout=self._deadline_s / 2)
        return self._plane

    def _mend(self) -> None:
        """Queue again what was parked or cancelled under an order that had been taken back by then.

        A worker may commit so just before it hears that the job goes on; nobody else would notice.
        """
        version = -1
        while not self._stop.is_set():
            try:
                feed = self.feed()
                version = feed.wait(version, _MENDER_WAIT_S)
                # Replicas see the same at the same time; the first to write spares the others the work.
                pause = random.uniform(*_MENDER_PAUSE_S)  # noqa: S311 - not a secret
                if self._stop.wait(pause) or not self._stranded(feed):
                    continue
                mended = self.ledger().write(self._mending)
                log.info("seamless.backfill.mended", shards=mended)
            except SeamlessError as error:
                if not self._stop.is_set():
                    log.warning("seamless.backfill.not_mended", error=str(error))
                    self._stop.wait(_MENDER_WAIT_S)

    @staticmethod
    def _stranded(feed: Feed) -> bool:
        with feed.reading() as view:
            return bool(view.stranded())

    @staticmethod
    def _mending(feed: Feed) -> tuple[int, list[Event]]:
        with feed.reading() as view:
            events = decisions.mend(view, decisions.Author("seamless", now_ms()))
        return len(events) // 2, events
