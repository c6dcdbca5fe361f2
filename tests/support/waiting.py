"""What tests of deadlines share: calls that hang until a test is over, servers that never answer, times that count."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from operations.testing.proxy import Proxy
from streams.clock import Deadline, monotonic

__all__ = ["Hanging", "eventually", "mute_server", "quickest"]

T = TypeVar("T")
_LONGEST_S = 60.0


class Hanging:
    """A call that begins and does not end before `release`; a context manager that releases."""

    def __init__(self) -> None:
        self.begun = 0
        self._free = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.begun += 1
        assert self._free.wait(_LONGEST_S), "a hanging call was never released"
        return "late"

    def release(self) -> None:
        """Let all calls end."""
        self._free.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until a condition holds, asking often; return whether it came to that."""
    deadline, pause = Deadline(seconds), threading.Event()
    while not condition():
        if deadline.passed():
            return False
        pause.wait(0.005)
    return True


@contextmanager
def mute_server() -> Iterator[int]:
    """Listen on a port where connections are accepted and nothing is ever answered; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nowhere: int = unused.getsockname()[1]
    with Proxy("127.0.0.1", nowhere) as proxy:
        proxy.hang()
        yield proxy.port


def quickest(attempt: Callable[[], T], enough: float, times: int = 5) -> tuple[float, T]:
    """Return the seconds and the result of the quickest of a few attempts; one that is quick enough is the last.

    How late a thread wakes up is up to a machine that others use as well; how late it may be asked to is not.
    """
    best: tuple[float, T] | None = None
    for _ in range(times):
        began = monotonic()
        result = attempt()
        took = monotonic() - began
        if best is None or took < best[0]:
            best = (took, result)
        if took <= enough:
            break
    assert best is not None
    return best
