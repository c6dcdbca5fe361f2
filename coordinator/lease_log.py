"""Reads from the log of leases what happened to one shard."""

from __future__ import annotations

from coordinator.lease_event import LeaseEvent
from coordinator.records import ControlPlane
from coordinator.topic_reader import TopicReader
from streams.settings import Settings

__all__ = ["lease_events"]


def lease_events(settings: Settings, plane: ControlPlane, shard: str) -> list[LeaseEvent]:
    """Return the events about a shard in the order in which they were recorded, as far as the log is kept.

    Events of a kind that this program does not know, as a newer release may write them, are left out.

    Raises:
        BrokerError: if the log cannot be read.
        RegistryError: if a record's schema is not to be had.
    """
    key, found = shard.encode(), list[LeaseEvent]()
    with TopicReader(settings, plane.leases) as log:
        for batch in log.batches():
            for message in batch:
                value = message.value()
                if message.key() == key and isinstance(value, bytes):
                    try:
                        event = plane.decode(plane.leases, value)
                    except ValueError:
                        continue
                    if isinstance(event, LeaseEvent):
                        found.append(event)
    return found
