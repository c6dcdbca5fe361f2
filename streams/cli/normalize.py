"""`seamless normalize`: run the normalizers of one or more datasets in one process."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from streams.cli.context import ConfigOption, WorldOption, settings_from

__all__ = ["normalize"]


def normalize(
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="Dataset to normalize; repeat for more. Default: all.")
    ] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop when all rows that exist now are done.")] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Begin at the oldest raw row where committed offsets are gone.")
    ] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
) -> None:
    """Turn raw topics into normalized topics, exactly once, until stopped (SIGTERM and Ctrl-C commit and leave)."""
    from streams.normalizer_process import run_normalizers

    settings = settings_from(config, world)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    failed = run_normalizers(settings, dataset or sorted(settings.datasets), stop, until_end, accept_loss)
    raise typer.Exit(1 if failed else 0)
