"""`seamless archive`: rows kept for good in Delta tables."""

from __future__ import annotations

import os
import signal
import threading
from typing import Annotated

import typer

from streams.cli.archive_tables import info, optimize, verify
from streams.cli.context import ConfigOption, WorldOption, settings_from
from streams.leaving import leave

__all__ = ["app"]

app = typer.Typer(name="archive", help="Rows kept for good, in Delta tables.", no_args_is_help=True)


@app.command()
def run(
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="Dataset to archive; repeat for more. Default: all.")
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when all rows that exist now are archived.")
    ] = False,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="Go on behind what retention deleted, and without records that are no rows."
        ),
    ] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
) -> None:
    """Archive normalized and backfilled rows, each exactly once, until stopped; run as many as you like."""
    # Polars' allocator keeps what it frees for ten seconds; it looks here when polars is imported.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    from streams.archive.process import run_archivers

    settings = settings_from(config, world)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    datasets = dataset or sorted(settings.datasets)
    leave(1 if run_archivers(settings, datasets, stop, until_end=until_end, accept_loss=accept_loss) else 0)


for _command in (info, optimize, verify):
    app.command()(_command)
