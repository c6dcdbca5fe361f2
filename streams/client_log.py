"""What librdkafka logs, in our form and not over and over.

A client that cannot reach its broker reports every attempt, twenty times a second. The first report says all; the
rest would hide what else there is to read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from streams.clock import monotonic

__all__ = ["client_logger"]

_QUIET_SECONDS = 30.0


class NotAgain(logging.Filter):
    """Lets a kind of record through once in a while; the kind is librdkafka's facility (`FAIL`, `MAXPOLL`)."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._now = now
        self._quiet_until: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is shown."""
        kind = record.args[0] if isinstance(record.args, tuple) and record.args else record.msg
        if self._now() < self._quiet_until.get(kind, 0.0):
            return False
        self._quiet_until[kind] = self._now() + _QUIET_SECONDS
        return True


def client_logger() -> logging.Logger:
    """Return the logger that every Kafka client is given."""
    logger = logging.getLogger("seamless.librdkafka")
    if not logger.filters:
        logger.addFilter(NotAgain())
    return logger
