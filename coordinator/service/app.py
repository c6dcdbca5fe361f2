"""The application: the routes over a coordinator, behind the guards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from coordinator.protocol import BackfillCoordinator
from coordinator.service.access import BodyBound, TokenGuard, token_of
from coordinator.service.calls import PATIENCE_S, Calls
from coordinator.service.document import ABOUT, TAGS, completed
from coordinator.service.events import EventHub
from coordinator.service.job_routes import job_routes
from coordinator.service.probes import PATIENCE_S as PROBE_S
from coordinator.service.probes import Probes
from coordinator.service.problems import Unforeseen, install
from coordinator.service.process_routes import process_routes
from coordinator.service.shard_routes import shard_routes
from coordinator.wire import HEARTBEAT_S
from streams.health import Health
from streams.metrics import Metrics
from streams.settings import Settings

__all__ = ["create_app"]

VERSION = "1"
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(
    coordinator: BackfillCoordinator,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    *,
    heartbeat_s: float = HEARTBEAT_S,
    patience_s: float = PATIENCE_S,
    probe_s: float = PROBE_S,
) -> FastAPI:
    """Return the service over a coordinator, which stays the caller's to close.

    `app.state.hub` streams changes and `app.state.calls` waits for answers: `server.finish` ends them, or the server
    would wait for those who listen and those who wait.

    Raises:
        SettingsError: if the token cannot be used.
    """
    calls = Calls(coordinator, patience_s=patience_s)
    hub = EventHub(calls, heartbeat_s=heartbeat_s)
    probes = Probes(coordinator, settings, metrics, patience_s=probe_s)

    @asynccontextmanager
    async def watching(_: FastAPI) -> AsyncIterator[None]:
        hub.start()
        calls.start()
        try:
            yield
        finally:
            hub.end()
            calls.end()

    app = FastAPI(
        title="Seamless coordinator",
        version=VERSION,
        description=ABOUT,
        openapi_tags=TAGS,
        lifespan=watching,
        # Their pages load scripts from elsewhere, which this service, reachable or not, never makes anybody do.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.state.hub, app.state.calls = hub, calls
    for routes in (job_routes(calls), shard_routes(calls), process_routes(hub, probes, metrics, health)):
        app.include_router(routes)
    install(app)
    # The last one added is the first one asked.
    app.add_middleware(BodyBound, max_bytes=settings.coordinator.max_body_bytes)
    app.add_middleware(Unforeseen)
    app.add_middleware(TokenGuard, token=token_of(settings.coordinator))
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # the way to change it that is documented
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, tags=app.openapi_tags, routes=app.routes
        )
        app.openapi_schema = completed(made)
    return app.openapi_schema
