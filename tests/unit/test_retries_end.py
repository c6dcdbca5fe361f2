"""The check that retries end in time passes what does, and fails what hangs, goes on in secret or was never tried."""

from __future__ import annotations

import threading

import pytest

from operations.testing.retries import RetriesEnd
from streams.clock import monotonic

DEADLINE = 0.2


class Attempts:
    """Tries at a fault, and whether it was ended."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.free = threading.Event()

    def check(self, *, quiet: float = 0.1) -> RetriesEnd:
        return RetriesEnd(DEADLINE, 0.05, quiet, lambda: self.at, self.free.set)


def test_what_gives_up_in_time_passes_and_its_tries_are_told() -> None:
    attempts = Attempts()
    with attempts.check() as watched:
        attempts.at += [monotonic(), monotonic()]
    assert watched.took < DEADLINE
    assert len(watched.attempts) == 2
    assert not attempts.free.is_set()


def test_tries_from_before_are_none_of_its_own() -> None:
    attempts = Attempts()
    attempts.at.append(monotonic())
    with pytest.raises(AssertionError, match="nothing met a fault"), attempts.check():
        pass


def test_what_hangs_is_set_free_and_fails() -> None:
    attempts = Attempts()
    watched = attempts.check()
    with pytest.raises(AssertionError, match=r"it went on for .*, and the deadline is 0\.2 s"), watched:
        attempts.free.wait(10)
    assert watched.took < 5


def test_an_error_after_the_deadline_is_the_cause_of_the_failure() -> None:
    attempts = Attempts()

    def hangs() -> None:
        attempts.free.wait(10)
        raise TimeoutError("the vendor")

    with pytest.raises(AssertionError, match="it went on for") as failed, attempts.check():
        hangs()
    assert isinstance(failed.value.__cause__, TimeoutError)


def test_an_error_in_time_is_left_as_it_is() -> None:
    with pytest.raises(KeyError), Attempts().check():
        raise KeyError("of the test itself")


def test_what_tries_again_behind_the_deadline_fails() -> None:
    attempts, over = Attempts(), threading.Event()

    def stubborn() -> None:
        while not over.wait(0.01):
            attempts.at.append(monotonic())

    thread = threading.Thread(target=stubborn)
    with pytest.raises(AssertionError, match="something still tried after the deadline"), attempts.check():
        thread.start()
    over.set()
    thread.join()
