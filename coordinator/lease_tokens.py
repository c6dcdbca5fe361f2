"""When group metadata may be trusted as the token of an assignment.

Two things can go wrong when it is read. Right after an assignment it may still carry the epoch before it; a commit with
it is refused, and it is read again. And a process that was suspended may have been evicted and have rejoined behind our
back: read then, it carries an epoch under which we own nothing. librdkafka tells of the loss at the next poll. So what
was read becomes the token only after one more poll in which nothing was assigned, revoked or lost.
"""

from __future__ import annotations

from streams.lease import LeaseToken

__all__ = ["TokenCapture"]


class TokenCapture:
    """Captures one token for the partitions that were assigned since the last one."""

    def __init__(self) -> None:
        self._candidate: LeaseToken | None = None

    def disturbed(self) -> None:
        """The assignment changed: what was read is worth nothing."""
        self._candidate = None

    def polled(self, read: LeaseToken | None) -> LeaseToken | None:
        """Take what was read after a poll (None: not a member); return the token if the read before it is confirmed."""
        before, self._candidate = self._candidate, read
        if before is None or read is None or (before.member, before.epoch) != (read.member, read.epoch):
            return None
        return before
