"""To wait for the archive's storage no longer than one wants to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from streams.clock import Deadline
from streams.errors import ArchiveUnavailable

__all__ = ["within"]

Answer = TypeVar("Answer")


class _Outcome(Generic[Answer]):
    value: Answer
    error: BaseException | None = None


def within(deadline: Deadline | None, call: Callable[[], Answer], what: str) -> Answer:
    """Return what a call returns, or raise what it raises; a call that takes too long is left to itself.

    Raises:
        ArchiveUnavailable: beginning with `what`, if it has not returned by the deadline.
    """
    if deadline is None:
        return call()
    outcome: _Outcome[Answer] = _Outcome()
    done = threading.Event()

    def work() -> None:
        try:
            outcome.value = call()
        except BaseException as error:
            outcome.error = error
        finally:
            done.set()

    threading.Thread(target=work, name="archive-read", daemon=True).start()
    if not done.wait(deadline.left()):
        raise ArchiveUnavailable(f"{what} took longer than {deadline.seconds:g} s")
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
