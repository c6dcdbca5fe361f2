"""`seamless worker`: fetch the shards of backfills."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from streams.cli.context import ConfigOption, WorldOption, settings_from
from streams.errors import SeamlessError
from streams.leaving import leave

__all__ = ["worker"]


def worker(
    slots: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Shards to run at once (default: seamless.backfill.slots).", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
) -> None:
    """Fetch shards of backfills, each row exactly once, until stopped; run as many workers as there are to spare.

    SIGTERM and Ctrl-C drain: chunks under way are left at their cursor, and another worker goes on there.
    """
    from coordinator.worker_memory import stay_small

    stay_small()
    from coordinator.worker_process import run_worker

    settings = settings_from(config, world)
    if slots is not None:
        settings = settings.model_copy(update={"backfill": settings.backfill.model_copy(update={"slots": slots})})
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    try:
        run_worker(settings, stop)
    except SeamlessError as error:
        Console(stderr=True, highlight=False).print("[bold red]error:[/] " + escape(str(error)), soft_wrap=True)
        leave(2)
    leave(0)
