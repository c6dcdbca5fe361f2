"""Whether a record is the next one of its partition: what carries records may repeat them, and may leave some out."""

from __future__ import annotations

from typing import Literal

__all__ = ["Intake"]

Answer = Literal["take", "old", "seek", "wait"]


class Intake:
    """The place of one partition at which reading goes on.

    A record below it was taken before. One above it may mean that records were lost on the way, or that there are none
    between: retention removed them, or a transaction left its mark there. So the carrier is sent back once, and what
    comes again is taken.

    Attributes:
        next: the offset that is wanted next.
    """

    def __init__(self, following: int) -> None:
        self.next = following
        self._gap_to: int | None = None

    def judge(self, offset: int) -> Answer:
        """Say what to do with a record: take it, leave it, seek to `next`, or wait for what was sought."""
        if offset < self.next:
            return "old"
        if offset == self.next or offset == self._gap_to:
            self.next, self._gap_to = offset + 1, None
            return "take"
        if self._gap_to is None:
            self._gap_to = offset
            return "seek"
        if offset < self._gap_to:  # what was left out came after all, but for a part that is not there
            self.next, self._gap_to = offset + 1, None
            return "take"
        return "wait"
