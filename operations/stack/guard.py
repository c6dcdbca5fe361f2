"""End a process when the one that started it is gone, however it went: `guard.py PARENT_PID PID`.

Run as a script of its own, with nothing but the standard library. A kill -9 leaves the parent no chance to
clean up, so somebody else must watch; and unlike Linux's parent-death signal this works on macOS, and in a
parent whose starting thread has ended.
"""

from __future__ import annotations

import os
import signal
import sys
from time import sleep

__all__ = ["watch"]

_POLL_S = 0.2


def watch(parent: int, pid: int) -> None:
    """Return when `pid` has ended; kill it as soon as this process is no longer a child of `parent`."""
    while _exists(pid):
        if os.getppid() != parent:
            os.kill(pid, signal.SIGKILL)
            return
        sleep(_POLL_S)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]))
