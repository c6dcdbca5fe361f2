"""A lock between processes that its holder's death releases."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from streams.clock import Deadline

__all__ = ["exclusive"]

_RETRY_S = 0.1


@contextmanager
def exclusive(path: Path, *, wait_s: float, refusal: Callable[[], Exception]) -> Iterator[None]:
    """Hold `path` as a lock; raise `refusal()` if another process still holds it after `wait_s` seconds.

    The lock is the kernel's (flock), so a killed holder leaves none behind; the file itself stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = Deadline(wait_s)
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline.passed():
                    raise refusal() from None
                sleep(_RETRY_S)
        yield
