"""`seamless coordinator`: serve the backfill coordinator over HTTP."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from streams.cli.context import ConfigOption, WorldOption, settings_from
from streams.leaving import leave

__all__ = ["coordinator"]


def coordinator(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: seamless.coordinator.host).", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Port to listen on; 0: any free one, which is logged (default: seamless.coordinator.port).",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
) -> None:
    """Plan, show and steer backfills over HTTP until stopped; run as many replicas as you like."""
    from coordinator.service.server import serve

    settings = settings_from(config, world)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"coordinator": settings.coordinator.model_copy(update=given)})
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    leave(0 if serve(settings, stop) else 1)
