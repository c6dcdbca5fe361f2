"""A worker as a process: its metrics, its health, and its end."""

from __future__ import annotations

import threading

from coordinator.slot import SlotStalled
from coordinator.slot_kit import Guards
from coordinator.worker import Worker
from streams.health import Health, HealthServer, Status
from streams.log import get_logger
from streams.metrics import Metrics
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["run_worker"]

log = get_logger(__name__)

_SILENCE_SECONDS = 30.0  # a loop that is silent for so long cannot report itself


def run_worker(settings: Settings, stop: threading.Event, *, guards: Guards | None = None) -> None:
    """Work off the shards of a world until `stop` is set.

    Args:
        guards: for tests that show what each guard of a lease guards.

    Raises:
        SlotStalled: if a slot got nowhere for too long; nothing is lost, and whoever starts the worker again goes on.
        SeamlessError: if Kafka or the registry cannot be reached, or refuse.
    """
    silence = _SILENCE_SECONDS + settings.backfill.revoke_deadline_s
    metrics, health = Metrics(settings.world), Health(silence_limit=silence)
    with Registry(settings.registry) as registry, HealthServer(settings.metrics, metrics, health) as server:
        worker = Worker(settings, registry, metrics, health, guards=guards)
        log.info(
            "worker_started",
            world=settings.world,
            slots=settings.backfill.slots,
            host=worker.host,
            metrics=server.url,
        )
        try:
            worker.run(stop)
        except SlotStalled as stalled:
            health.set("slots", Status.STOPPED, str(stalled))
            raise
    log.info("worker_stopped", host=worker.host)
