"""Records of breaches as they come: committed ones, decoded, first all of the past and then whatever follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from streams import topics
from streams.events import EventCodec
from streams.log import get_logger
from streams.partition_reader import PartitionReader, Start
from streams.registry import Registry, RegistryUnavailable
from streams.settings import Settings
from streams.sla.breach import EVENT, Breach

__all__ = ["BreachFeed"]

_ROWS = 1_000
_REGISTRY_AGAIN_S = 0.5

log = get_logger(__name__)


class BreachFeed:
    """Reads `{world}.sla.breaches` in no group: whoever starts again reads all of it again.

    Args:
        stop: ends every waiting.

    Raises:
        RegistryError: if the topic's schema is not registered, or the registry does not answer.
    """

    def __init__(self, settings: Settings, registry: Registry, stop: threading.Event) -> None:
        self._settings, self._stop = settings, stop
        self._topic = topics.sla_breaches(settings.world)
        self._codec = EventCodec(registry, self._topic, EVENT)
        self._reached: Start = "earliest"

    def past(self) -> Iterator[Breach]:
        """Yield what is there now, and end.

        Raises:
            BrokerError: if it cannot be read.
        """
        reader = self._reader(until_end=True)
        try:
            while not self._stop.is_set() and (records := reader.read(_ROWS, None)) is not None:
                yield from self._decoded(records.values)
            self._reached = reader.reached
        finally:
            reader.close()

    def following(self, seconds: float) -> Iterator[list[Breach]]:
        """Yield what comes then, at least every so many seconds, until stopped; an empty list for nothing.

        Raises:
            BrokerError: if it can be read no more.
        """
        reader = self._reader(until_end=False)
        try:
            while not self._stop.is_set():
                # Asked for more than one, it would wait for them first; what is there besides is taken at once.
                found = [r for r in (reader.read(1, seconds), reader.read(_ROWS, 0)) if r is not None]
                yield [breach for records in found for breach in self._decoded(records.values)]
        finally:
            reader.close()

    def _reader(self, *, until_end: bool) -> PartitionReader:
        return PartitionReader(
            self._settings, self._topic, lambda count: list(range(count)), self._reached, until_end=until_end
        )

    def _decoded(self, payloads: list[bytes | None]) -> Iterator[Breach]:
        for payload in payloads:
            breach = self._breach(payload or b"")
            if breach is not None:
                yield breach

    def _breach(self, payload: bytes) -> Breach | None:
        """Return the breach of a record; None for one that is none, which keeps nobody from the others."""
        while True:
            try:
                return Breach.from_datum(self._codec.decode(payload))
            except RegistryUnavailable as error:
                log.warning("breach_waits_for_registry", error=str(error))
                if self._stop.wait(_REGISTRY_AGAIN_S):
                    return None
            except Exception as error:  # whatever else writes to the topic
                log.error("breach_unreadable", topic=self._topic, error=repr(error))
                return None
