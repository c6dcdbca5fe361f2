"""One partition that an agent holds: its windows, where reading goes on, and what is not yet acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streams.clock import monotonic
from streams.sla.intake import Intake
from streams.sla.partition import Output, PartitionWindows
from streams.sla.store import PartitionStore

__all__ = ["Owned"]


@dataclass
class Owned:
    """A partition of the observations in the hands of this agent; used on the event loop's thread only."""

    partition: int
    store: PartitionStore
    windows: PartitionWindows
    intake: Intake
    unacknowledged: deque[tuple[int, Callable[[], Any]]] = field(default_factory=deque)
    written_at: float = field(default_factory=monotonic)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def due(self, every_s: float) -> bool:
        """Whether it is time to write: at once after a breach, else if something was read a while ago."""
        if self.windows.output.breaches:
            return True
        return bool(self.unacknowledged) and monotonic() - self.written_at >= every_s

    async def write(self) -> Output:
        """Write what changed and what follows from it; then acknowledge the records that it comes from.

        Raises:
            TransactionAborted: if nothing was written; the windows are then of no use any more.
        """
        async with self.turn:
            states, output, offset = self.windows.checkpoint(), self.windows.drain(), self.windows.offset
            await asyncio.to_thread(self.store.write, states, output.breaches)
            while self.unacknowledged and self.unacknowledged[0][0] <= offset:
                self.unacknowledged.popleft()[1]()
            self.written_at = monotonic()
            return output

    async def close(self) -> None:
        """Let it go; what was not written, whoever holds it next finds out again."""
        async with self.turn:
            await asyncio.to_thread(self.store.close)
