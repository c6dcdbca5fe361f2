"""Backfill: holes in history, filled by any number of workers, each row exactly once.

from coordinator import BackfillRequest, open_coordinator

with closing(open_coordinator(settings)) as coordinator:
    planned = coordinator.request(BackfillRequest(dataset="bars", symbols=("AAA",), start=..., end=...))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coordinator.choice import open_coordinator
    from coordinator.distributed import DistributedBackfillCoordinator
    from coordinator.local import LocalBackfillCoordinator
    from coordinator.protocol import (
        BackfillCoordinator,
        BackfillRejected,
        BackfillRequest,
        CoordinatorUnavailable,
        NotFound,
    )

__all__ = [
    "BackfillCoordinator",
    "BackfillRejected",
    "BackfillRequest",
    "CoordinatorUnavailable",
    "DistributedBackfillCoordinator",
    "LocalBackfillCoordinator",
    "NotFound",
    "open_coordinator",
]

# Imported when asked for: numpy, pydantic and Kafka's client cost a second that `seamless --help` need not wait for.
_HOMES = {
    "BackfillCoordinator": "coordinator.protocol",
    "BackfillRejected": "coordinator.protocol",
    "BackfillRequest": "coordinator.protocol",
    "CoordinatorUnavailable": "coordinator.protocol",
    "DistributedBackfillCoordinator": "coordinator.distributed",
    "LocalBackfillCoordinator": "coordinator.local",
    "NotFound": "coordinator.protocol",
    "open_coordinator": "coordinator.choice",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
