"""What keeps a worker small, whatever it fetches: it runs for months beside others that want memory too.

Called before anything of the worker is imported.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

__all__ = ["stay_small"]

_M_ARENA_MAX = -8  # glibc's number, of malloc.h
_ARENAS = 2


def stay_small() -> None:
    """Set up the allocators of this process."""
    # Polars' allocator keeps what it frees for ten seconds; a worker that reads one file after the other grows by that.
    # It looks here when polars is imported.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    # glibc gives threads heaps of their own, which each grow to the largest chunk; librdkafka has a hundred threads.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
