"""Which coordinator to use: the service where its address is set, else one in this process."""

from __future__ import annotations

from coordinator.protocol import BackfillCoordinator
from streams.settings import Settings

__all__ = ["open_coordinator"]


def open_coordinator(settings: Settings) -> BackfillCoordinator:
    """Return a coordinator; it connects at its first call. The caller closes it."""
    if settings.coordinator_url is not None:
        from coordinator.distributed import DistributedBackfillCoordinator  # each alone: the other's imports take long

        chosen = settings.coordinator
        url = str(settings.coordinator_url)
        return DistributedBackfillCoordinator(url, chosen.token, chosen.timeout_s, chosen.retries)
    from coordinator.local import LocalBackfillCoordinator

    return LocalBackfillCoordinator(settings)
