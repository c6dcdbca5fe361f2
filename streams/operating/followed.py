"""The settings as they are in force: those of a process, with what operators set at run time."""

from __future__ import annotations

from streams.log import get_logger
from streams.metrics import Metrics
from streams.operating.feed import OperationsFeed
from streams.operating.operation import ROLLBACKS
from streams.operating.override import settings_under, storage_first_reason
from streams.operating.standing import Standing
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["Followed"]

log = get_logger(__name__)

_ALL = "*"


class Followed:
    """Follows the operations of a world; used on one thread, what it says may be read on any.

    Args:
        metrics: where it is told which rollbacks are in force.

    Attributes:
        settings: what is in force.

    Raises:
        RegistryError: if the topic's subject is not registered.
    """

    def __init__(self, settings: Settings, registry: Registry, metrics: Metrics | None = None) -> None:
        self._own, self.settings, self._metrics = settings, settings, metrics
        self._feed = OperationsFeed(settings, registry)
        self._first: dict[str, str] = {}
        self._shown = {(what, _ALL) for what in ROLLBACKS}  # there from the start, so that a first one shows

    def open(self, seconds: float = 30.0) -> None:
        """Read all that was done until now; raises BrokerError if that cannot be had in time."""
        self._feed.open(seconds)
        self._adopt()

    def begin(self, seconds: float) -> bool:
        """Read for at most so long; return whether all that was done until then is known, and in force.

        Raises:
            BrokerError: if the topic is not there.
        """
        if not self._feed.begin(seconds):
            return False
        self._adopt()
        return True

    def poll(self, seconds: float = 0.0) -> bool:
        """Take in what has come, waiting at most so long for it; return whether there was anything.

        Raises:
            BrokerError: if reading cannot go on.
        """
        came = self._feed.poll(seconds)
        if came:
            self._adopt()
            newest = self._feed.standing.done[-1]
            log.info("operation_followed", what=newest.what, id=newest.id, by=newest.by, reason=newest.reason)
        return came

    def storage_first(self, dataset: str) -> str | None:
        """Return why a dataset's readers are not to wait for the coordinator; None if they may."""
        return self._first.get(dataset)

    def close(self) -> None:
        """Let go of Kafka."""
        self._feed.close()

    def _adopt(self) -> None:
        standing = self._feed.standing
        self._show(standing)
        reasons = {name: storage_first_reason(standing, name) for name in self._own.datasets}
        self._first = {name: reason for name, reason in reasons.items() if reason is not None}
        try:
            self.settings = settings_under(self._own, standing)
        except Exception as error:  # of other settings or another release, perhaps: what was in force stays
            log.warning("override_unusable", error=f"{type(error).__name__}: {error}")

    def _show(self, standing: Standing) -> None:
        if self._metrics is None:
            return
        active = {
            (what, change.dataset or _ALL)
            for what in ROLLBACKS
            for operation in standing.rollbacks(what)
            for change in standing.still(operation)
        }
        for what, dataset in active | self._shown:
            self._metrics.rollback_active.set((what, dataset) in active, what=what, dataset=dataset)
        self._shown |= active
