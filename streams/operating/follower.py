"""Following operations beside other work: on a thread that nobody waits for."""

from __future__ import annotations

import threading

from streams.clock import Deadline
from streams.errors import BrokerError, SeamlessError
from streams.log import get_logger
from streams.metrics import Metrics
from streams.operating.followed import Followed
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["Follower"]

log = get_logger(__name__)

_OPEN_S, _POLL_S, _PAUSE_S, _CLOSE_S = 5.0, 0.2, 2.0, 1.0


class Follower:
    """Follows the operations of a world from `start` until `close`; any thread may ask.

    While broker or registry are away, or there is no such topic, what is known stays: at first the settings.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self._settings, self._metrics = settings, metrics
        self._followed: Followed | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stop, self._tried = threading.Event(), threading.Event()

    def start(self) -> None:
        """Begin to follow; a second call does nothing."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._follow, name="operations", daemon=True)
                self._thread.start()

    @property
    def settings(self) -> Settings:
        """The settings with what was set at run time, as far as it is known."""
        return self._settings if self._followed is None else self._followed.settings

    def storage_first(self, dataset: str) -> str | None:
        """Return why a dataset's readers are not to wait for the coordinator; None if they may, or nothing is known."""
        return None if self._followed is None else self._followed.storage_first(dataset)

    @property
    def known(self) -> bool:
        """Whether all is known that was done before it began."""
        return self._followed is not None

    def wait(self, seconds: float) -> None:
        """Wait until it is known what was done before, or was found out that it cannot be known now."""
        if self._thread is not None:
            self._tried.wait(seconds)

    def close(self, seconds: float = _CLOSE_S) -> None:
        """End, waiting no longer than this for it."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _follow(self) -> None:
        told, deadline = False, Deadline(_OPEN_S)
        followed: Followed | None = None
        with Registry(self._settings.registry) as registry:
            while not self._stop.is_set():
                try:
                    if followed is None:
                        followed = Followed(self._settings, registry, self._metrics)
                    if self.known:
                        followed.poll(_POLL_S)
                    elif followed.begin(_POLL_S):
                        self._followed = followed
                    elif not deadline.passed():
                        continue
                    else:
                        raise BrokerError(f"what was done is not known after {_OPEN_S:g} s: is the broker up?")
                    told = False
                except SeamlessError as error:
                    if not told:
                        log.warning("operations_not_followed", error=str(error))
                    told = True
                    self._tried.set()
                    self._stop.wait(_PAUSE_S)
                self._tried.set()
        if followed is not None:
            followed.close()
