"""Puts the offsets of the workers' group right after they were lost, from the progress topic."""

from __future__ import annotations

from contextlib import closing

from coordinator.feed import Feed
from coordinator.queue_offsets import QueuePlace, commit_places, read_places
from coordinator.records import ControlPlane
from streams.clock import Deadline
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["rebuild"]

_CATCH_UP_SECONDS = 60.0


def rebuild(settings: Settings, *, commit: bool) -> list[QueuePlace]:
    """Return where each partition of the queues goes on; commit that where the group has no offset, if asked to.

    Raises:
        BrokerError: if workers run, or Kafka does not answer.
        RegistryError: if the control plane is not registered.
    """
    with Registry(settings.registry) as registry:
        plane = ControlPlane.prepare(settings, registry)
        with closing(Feed(settings, plane)) as feed:
            feed.catch_up(Deadline(_CATCH_UP_SECONDS))
            with feed.reading() as view:
                known = {progress.shard.id: progress for name in view.datasets() for progress in view.dataset(name)}
        places = read_places(settings, plane, known.get)
    if commit:
        commit_places(settings, places)
    return places
