"""Whether a record is the next one of its partition: what carries records may repeat them, and may leave some out."""

from __future__ import annotations

from typing import Literal

__all__ = ["Intake"]

Answer = Literal["take", "old", "missing"]


class Intake:
    """The place of one partition at which reading goes on.

    A record below it was taken before. One above it may mean that records were left out on the way, or that there are
    none between: retention removed them, or a transaction left its mark there. Whoever asks has to look.

    Attributes:
        next: the offset that is wanted next.
    """

    def __init__(self, following: int) -> None:
        self.next = following

    def judge(self, offset: int) -> Answer:
        """Say whether a record is to be taken, was taken before, or comes after some that are missing."""
        if offset < self.next:
            return "old"
        return "take" if offset == self.next else "missing"

    def took(self, offset: int) -> None:
        """Note that everything up to a record was taken, or is not there."""
        self.next = offset + 1
