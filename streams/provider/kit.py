"""What all fetches and streams of a provider share."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from streams.archive.reader import ArchiveReader
from streams.log import get_logger
from streams.metrics import Metrics
from streams.operating.follower import Follower
from streams.provider.account import Surroundings
from streams.provider.calls import Kind, Target
from streams.provider.filling import Filling
from streams.provider.tail_pool import TailPool
from streams.settings import Settings

__all__ = ["Degraded", "Kit"]

log = get_logger("provider")

_FIRST_S = 0.5


class Degraded:
    """What is away now, by dataset: each is logged once while it lasts, and every fetch without it is counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._away: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def without(self, dataset: str, what: str, reason: str) -> None:
        """Note that a fetch goes on without something."""
        self._metrics.provider_degraded.add(dataset=dataset, what=what)
        with self._lock:
            is_new = (dataset, what) not in self._away
            self._away.add((dataset, what))
        if is_new:
            log.warning("provider_degraded", dataset=dataset, what=what, reason=reason)

    def answered(self, dataset: str, what: str) -> None:
        """Note that something was there."""
        with self._lock:
            was_away = (dataset, what) in self._away
            self._away.discard((dataset, what))
        if was_away:
            log.info("provider_recovered", dataset=dataset, what=what)


@dataclass(frozen=True)
class Kit:
    """The parts of a provider; all may be shared between threads."""

    settings: Settings
    archive: ArchiveReader
    tails: TailPool
    filling: Filling
    around: Surroundings
    degraded: Degraded
    operations: Follower

    def storage_first(self, dataset: str, seconds: float | None = None) -> str | None:
        """Return why a dataset's readers are not to wait for the coordinator; None if they may.

        Where nothing is known yet, as just after the start, that is waited for a moment, `seconds` at most.
        """
        self.operations.wait(_FIRST_S if seconds is None else min(_FIRST_S, seconds))
        return self.operations.storage_first(dataset)

    def target(self, kind: Kind) -> Target:
        """Return what calls of a kind go to."""
        return self.around.calls.target(kind, self.around.where.get(kind, ""))
