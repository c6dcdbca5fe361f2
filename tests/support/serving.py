"""The coordinator service over any coordinator, on a port of its own, while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from coordinator.protocol import BackfillCoordinator
from coordinator.service.access import listening_socket
from coordinator.service.app import create_app
from coordinator.service.events import EventHub
from coordinator.service.server import finish, make_server, url_of
from streams.health import Health
from streams.metrics import Metrics
from streams.settings import CoordinatorSettings, Settings

__all__ = ["Service", "serving"]


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    url: str
    hub: EventHub
    health: Health


@contextmanager
def serving(
    coordinator: BackfillCoordinator,
    settings: Settings | None = None,
    *,
    token: str | None = None,
    max_body_bytes: int = 1_048_576,
    heartbeat_s: float = 0.1,
    drain_s: float = 1.0,
    patience_s: float = 9.0,
    probe_s: float = 2.0,
) -> Iterator[Service]:
    """Serve a coordinator, which the caller closes."""
    chosen = CoordinatorSettings.model_validate({"port": 0, "token": token, "max_body_bytes": max_body_bytes})
    settings = (settings or Settings()).model_copy(update={"coordinator": chosen})
    health = Health()
    app = create_app(
        coordinator,
        settings,
        Metrics(settings.world),
        health,
        heartbeat_s=heartbeat_s,
        patience_s=patience_s,
        probe_s=probe_s,
    )
    with listening_socket(chosen) as bound:
        url, server = url_of(bound), make_server(app)
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        server.settled.wait(30)
        assert server.started
        try:
            yield Service(url, app.state.hub, health)
        finally:
            finish(server, thread, app, drain_s)
            assert not thread.is_alive(), "the server did not end"
