"""A process that watches promises, and tells the outside how it fares."""

from __future__ import annotations

import asyncio
import signal

from streams.health import Health, HealthServer
from streams.log import get_logger
from streams.metrics import Metrics
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.agent import Agent

__all__ = ["run_agent"]

_SILENCE_S = 60.0  # taking partitions over may wait for a broker that comes back

log = get_logger("sla")


def run_agent(settings: Settings) -> None:
    """Watch the promises of a world until SIGTERM or Ctrl-C.

    Raises:
        SeamlessError: if it cannot begin or go on.
    """
    metrics = Metrics(settings.world)
    health = Health(silence_limit=_SILENCE_S + settings.sla_agent.restore_deadline_s)
    with Registry(settings.registry) as registry, HealthServer(settings.metrics, metrics, health) as server:
        log.info("sla_agent_started", world=settings.world, metrics=server.url)
        asyncio.run(_run(settings, registry, metrics, health))
    log.info("sla_agent_ended", world=settings.world)


async def _run(settings: Settings, registry: Registry, metrics: Metrics, health: Health) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await Agent(settings, registry, metrics, health).run(stop)
