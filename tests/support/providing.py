"""What tests of the provider need: worlds with an archive and backfill, and coordinators of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coordinator.local import LocalBackfillCoordinator
from streams import Provider
from streams.clock import now
from streams.settings import Settings
from tests.support.bars import MINUTE, START
from tests.support.serving import serving
from tests.support.worlds import World, make_backfill_world

__all__ = ["changed", "make_provider_world", "minute_now", "providing"]


def make_provider_world(stack: Any, name: str, folder: Path, **dataset: Any) -> World:
    """Create a world with backfill whose archive is a folder of the test's own."""
    archive = {"url": str(folder / "archive"), "commit_interval_s": 0.2}
    return make_backfill_world(stack, name, folder, dataset=dataset, archive=archive)


@contextmanager
def providing(world: World, kind: str = "local") -> Iterator[Provider]:
    """Provide over the coordinator in the process, or (`distributed`) over the service."""
    if kind == "local":
        with Provider(world.settings, observe=False) as provider:
            yield provider
        return
    coordinator = LocalBackfillCoordinator(world.settings)
    try:
        with (
            serving(coordinator, world.settings) as service,
            Provider(changed(world.settings, coordinator_url=service.url), observe=False) as provider,
        ):
            yield provider
    finally:
        coordinator.close()


def changed(settings: Settings, **values: Any) -> Settings:
    """Return settings with some values changed, checked as if they had been in the file."""
    return Settings.model_validate({**settings.model_dump(), **values})


def minute_now() -> int:
    """Return the number of the minute that goes on."""
    return (int(now().timestamp() * 1e6) - START) // MINUTE
