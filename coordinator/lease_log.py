"""Reads from the log of leases what happened to shards."""

from __future__ import annotations

from contextlib import closing

from coordinator.explain import Explanation, explain
from coordinator.feed import Feed
from coordinator.lease_event import LeaseEvent
from coordinator.protocol import NotFound
from coordinator.records import ControlPlane
from coordinator.topic_reader import TopicReader
from streams.clock import Deadline
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["all_lease_events", "explain_shard", "lease_events"]

_CATCH_UP_SECONDS = 60.0


def lease_events(settings: Settings, plane: ControlPlane, shard: str | None = None) -> list[LeaseEvent]:
    """Return the events about a shard, or all, in the order in which they were recorded, as far as the log is kept.

    Events of a kind that this program does not know, as a newer release may write them, are left out.

    Raises:
        BrokerError: if the log cannot be read.
        RegistryError: if a record's schema is not to be had.
    """
    key, found = None if shard is None else shard.encode(), list[LeaseEvent]()
    with TopicReader(settings, plane.leases) as log:
        for batch in log.batches():
            for message in batch:
                value = message.value()
                if key in (None, message.key()) and isinstance(value, bytes):
                    try:
                        event = plane.decode(plane.leases, value)
                    except ValueError:
                        continue
                    if isinstance(event, LeaseEvent):
                        found.append(event)
    return found


def all_lease_events(settings: Settings) -> list[LeaseEvent]:
    """Return the events about all shards; see `lease_events`."""
    with Registry(settings.registry) as registry:
        return lease_events(settings, ControlPlane.prepare(settings, registry))


def explain_shard(settings: Settings, shard: str) -> Explanation:
    """Return the history of a shard's leases, from the topics.

    Raises:
        NotFound: if there is no such shard.
        BrokerError, RegistryError: if the topics cannot be read.
    """
    with Registry(settings.registry) as registry:
        plane = ControlPlane.prepare(settings, registry)
        with closing(Feed(settings, plane)) as feed:
            feed.catch_up(Deadline(_CATCH_UP_SECONDS))
            with feed.reading() as view:
                progress = view.shard(shard)
        if progress is None:
            raise NotFound(f"the world {settings.world} has no shard {shard}: `seamless backfill show JOB --shards`")
        return explain(progress, lease_events(settings, plane, shard))
