"""Producers of the queue partitions that are held: one each, kept from shard to shard.

A producer writes under its partition's transactional id. To take an id over aborts what the holder before left open and
fences it; that takes the broker up to half a second, so it is done once for all shards of a partition. A producer that
failed, or whose partition is gone, is not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from coordinator.ownership import Place
from streams.transactions import TransactionalProducer

__all__ = ["LeaseProducers"]

_MOST = 32  # a producer takes some threads and 0.6 MB


class LeaseProducers:
    """Any thread may use it.

    Args:
        config: returns the configuration of a partition's producer.
        deadline_s: how long a commit or the start of a producer may take.
    """

    def __init__(self, config: Callable[[Place], dict[str, Any]], deadline_s: float) -> None:
        self._config, self._deadline_s = config, deadline_s
        self._held: set[Place] = set()
        self._kept: dict[Place, TransactionalProducer] = {}
        self._lock = threading.Lock()

    def hold(self, places: Iterable[Place]) -> None:
        """Keep producers of these partitions from now on."""
        with self._lock:
            self._held |= set(places)

    def let_go(self, places: Iterable[Place]) -> None:
        """Keep none of these partitions any more; who has taken one may still use it, to no effect."""
        gone = list(places)
        with self._lock:
            self._held -= set(gone)
            closing = [self._kept.pop(place) for place in gone if place in self._kept]
        for producer in closing:
            producer.close()

    def take(self, place: Place) -> TransactionalProducer:
        """Return the producer of a partition, for one thread; `ready` takes over the id if it is a new one."""
        with self._lock:
            kept = self._kept.pop(place, None)
        return kept or TransactionalProducer(self._config(place), self._deadline_s)

    def give_back(self, place: Place, producer: TransactionalProducer) -> None:
        """Keep a producer with which all went well, for the next shard."""
        with self._lock:
            if place in self._held and place not in self._kept and not producer.open:
                self._kept[place] = producer
                if len(self._kept) <= _MOST:
                    return
                producer = self._kept.pop(next(iter(self._kept)))  # the one that was not needed for the longest time
        producer.close()

    def take_over(self, place: Place) -> None:
        """Abort what the holder before left open in a partition.

        Raises:
            BrokerError: if Kafka does not let it.
        """
        self.take(place).close()
        producer = TransactionalProducer(self._config(place), self._deadline_s)
        try:
            producer.ready()
        except BaseException:
            producer.close()
            raise
        self.give_back(place, producer)
