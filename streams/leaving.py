"""How a process ends although threads of it still wait for somebody."""

from __future__ import annotations

import logging
import os
import sys
import threading

from streams.log import get_logger

__all__ = ["leave"]

log = get_logger(__name__)


def leave(code: int) -> None:
    """End the process with an exit code, also while a thread waits for Kafka or for a source.

    The interpreter would wait for some of them, and pull the rug from under the others. What they have in flight is
    whole in Kafka, or not there at all.
    """
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    busy = [t.name for t in others if not t.daemon]
    if busy:
        log.warning("threads_dropped", threads=busy)
    if others:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
