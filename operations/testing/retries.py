"""Whether whoever meets a fault gives up in time, and does not go on behind anybody's back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import sleep
from types import TracebackType
from typing import Self

from streams.clock import monotonic
from streams.durations import spelled

__all__ = ["RetriesEnd"]

_SHOWN = 6


class RetriesEnd:
    """A context manager: what is inside must end before its deadline, and with it every further try.

    What hangs for longer is set free by ending the faults, so that a test fails and does not hang with it.

    Attributes:
        took: seconds of the block.
        attempts: when it met a fault: seconds since the block began, in order.
    """

    def __init__(
        self,
        deadline: float,
        grace: float,
        quiet: float,
        attempts: Callable[[], Sequence[float]],
        set_free: Callable[[], None],
    ) -> None:
        self.took = 0.0
        self.attempts: list[float] = []
        self._deadline, self._grace, self._quiet = deadline, grace, quiet
        self._met, self._set_free = attempts, set_free
        self._began = 0.0
        self._ended = threading.Event()
        self._rescuer = threading.Thread(target=self._rescue, name="seamless-rescue", daemon=True)

    def __enter__(self) -> Self:
        self._began = monotonic()
        self._rescuer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.took = monotonic() - self._began
        self._ended.set()
        self._rescuer.join()
        allowed = self._deadline + self._grace
        if self.took <= allowed and error is None:
            self._stay_quiet(allowed)
        self.attempts = sorted(at - self._began for at in self._met() if at >= self._began)
        if self.took > allowed:
            raise AssertionError(
                f"it went on for {spelled(self.took)}, and the deadline is {spelled(self._deadline)}{self._told()}"
            ) from error
        if error is not None:
            return
        if not self.attempts:
            raise AssertionError("nothing met a fault, so nothing is known of retries: inject one, and check who asks")
        if self.attempts[-1] > allowed:
            raise AssertionError(
                f"it ended after {spelled(self.took)}, but something still tried after the deadline of "
                f"{spelled(self._deadline)}{self._told()}"
            )

    def _rescue(self) -> None:
        if not self._ended.wait(self._deadline + self._grace):
            self._set_free()

    def _stay_quiet(self, allowed: float) -> None:
        while (left := self._began + allowed + self._quiet - monotonic()) > 0:
            sleep(left)

    def _told(self) -> str:
        if not self.attempts:
            return "; it met no fault"
        shown = ", ".join(f"{at:.2f}" for at in self.attempts[-_SHOWN:])
        return f"; it met faults {len(self.attempts)} times, the last at {shown} s"
