"""The service as a process: opens the coordinator, serves it, and ends within seconds when told."""

from __future__ import annotations

import socket
import threading

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillCoordinator
from coordinator.service.access import listening_socket
from coordinator.service.app import create_app
from schemas.grid import NANOS, make_grid
from streams import clock
from streams.errors import ContractError, SeamlessError
from streams.health import Health
from streams.log import get_logger
from streams.metrics import Metrics
from streams.settings import Settings

__all__ = ["ANSWER_S", "DRAIN_S", "Server", "finish", "impatient", "make_server", "serve", "url_of"]

log = get_logger("coordinator")

DRAIN_S = 4
LAST_S = 1  # for the last answers to be sent
ANSWER_S = 8.0  # less than PATIENCE_S, so that callers hear what Kafka said


class Server(uvicorn.Server):
    """Says when it answers, or that it never will: `settled` is set, and `started` tells which."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.settled.set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to end."""
        try:
            super().run(sockets)
        finally:
            self.settled.set()


def serve(settings: Settings, stop: threading.Event) -> bool:
    """Serve the coordinator of a world until `stop` is set; return whether it ended because it was told to.

    Replicas know nothing of each other and keep nothing: run any number, behind any balancer.

    Raises:
        SettingsError: if the address cannot be had, or others could reach it and there is no token.
        SeamlessError: if the control topics cannot be read.
    """
    with listening_socket(settings.coordinator) as bound:
        health, metrics, url = Health(), Metrics(settings.world), url_of(bound)
        coordinator = LocalBackfillCoordinator(impatient(settings), deadline_s=ANSWER_S)
        try:
            app = create_app(coordinator, settings, metrics, health)
            server = make_server(app)
            thread = threading.Thread(target=server.run, args=([bound],), name="coordinator http", daemon=True)
            thread.start()
            server.settled.wait()
            if server.started:
                log.info("coordinator_started", world=settings.world, url=url)
            threading.Thread(
                target=_warm_up, args=(coordinator, settings, stop), name="coordinator warm-up", daemon=True
            ).start()
            while thread.is_alive() and not stop.wait(0.2):
                pass
            told = stop.is_set()
            finish(server, thread, app, DRAIN_S)
        finally:
            coordinator.close()
    log.info("coordinator_stopped", told=told)
    return told


def _warm_up(coordinator: BackfillCoordinator, settings: Settings, stop: threading.Event) -> None:
    """Read topics and calendars before the first client asks, and say when that is done or why it is not."""
    began, why = clock.monotonic(), ""
    for name, dataset in settings.datasets.items():
        try:
            make_grid(dataset.interval_ns() or NANOS, dataset.calendar)
        except ContractError as error:
            log.warning("coordinator_calendar", dataset=name, error=str(error))
    while not stop.is_set():
        try:
            coordinator.leases(stalled=True)
        except SeamlessError as error:
            if str(error) != why and not stop.is_set():
                why = str(error)
                log.warning("coordinator_not_ready", error=why)
            stop.wait(1)
        else:
            log.info("coordinator_ready", seconds=round(clock.monotonic() - began, 3))
            return


def impatient(settings: Settings) -> Settings:
    """Return settings under which a registry that hangs does not make an answer late."""
    # It is asked three times, with pauses between that come to less than a fourth time.
    registry = settings.registry.model_copy(update={"timeout": min(settings.registry.timeout, ANSWER_S / 4)})
    return settings.model_copy(update={"registry": registry})


def finish(server: Server, thread: threading.Thread, app: Starlette, drain_s: float) -> None:
    """End a server that runs in a thread: streams at once, calls under way when they are done or after `drain_s`."""
    app.state.hub.end()
    server.should_exit = True
    thread.join(drain_s)
    app.state.calls.end()
    thread.join(2 * LAST_S)


def make_server(app: ASGIApp) -> Server:
    """Return the HTTP server of an application; `finish` ends it."""
    return Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,  # its records go where all others go
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S + LAST_S,
        )
    )


def url_of(bound: socket.socket) -> str:
    """Return the address that a socket is bound to."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"
