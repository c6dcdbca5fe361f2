"""Waiting for what comes back by itself: said once per attempt, shown in the health, with pauses that grow."""

from __future__ import annotations

from streams.clock import Deadline
from streams.health import Health, Status
from streams.log import get_logger

__all__ = ["Patience"]

log = get_logger(__name__)

_FIRST, _LONGEST = 0.25, 10.0


class Patience:
    """Counts failures in a row of one part of a process."""

    def __init__(self, part: str, health: Health) -> None:
        self._part, self._health = part, health
        self._failures = 0
        self._pause: Deadline | None = None

    @property
    def rested(self) -> bool:
        """Whether it is time to try again."""
        return self._pause is None or self._pause.passed()

    def failed(self, what: str, error: Exception) -> None:
        """Tell of a failure, and begin a pause."""
        seconds = min(_LONGEST, _FIRST * 2**self._failures)
        self._failures += 1
        self._pause = Deadline(seconds)
        self._health.set(self._part, Status.DEGRADED, str(error))
        log.warning("archive_waits", dataset=self._part, what=what, seconds=seconds, error=str(error))

    def worked(self) -> None:
        """Tell that all is well again."""
        if self._failures:
            log.info("archive_goes_on", dataset=self._part, failures=self._failures)
            self._failures, self._pause = 0, None
        self._health.set(self._part, Status.OK)
