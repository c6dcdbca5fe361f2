"""`seamless demo`: real market data with faults through the whole pipeline, every count checked."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streams.cli.context import JsonOption

__all__ = ["demo"]

DIFFERS = 1
INTERRUPTED = 130


def demo(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The demo's folder, wiped first (default: ./.seamless/demo).", show_default=False),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running, to look around.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send real bars with injected faults through the whole pipeline; exit with 1 if any count is not as it must be."""
    # Imported when needed: no other command should wait for it.
    from streams.demo.place import Place, default_folder
    from streams.demo.run import run_demo
    from streams.demo.show import Show
    from streams.log import configure_logging

    # A plain kill must leave as little behind as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    configure_logging("error")  # what a producer finds is told in the story
    folder = directory.expanduser().absolute() if directory else default_folder()
    try:
        outcome = run_demo(Show(Console(quiet=as_json)), folder, keep=keep)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        kept = {"config": str(Place(folder).config)} if keep else {}
        typer.echo(json.dumps(outcome.as_json() | kept, indent=2))
    if not outcome.ok:
        raise typer.Exit(DIFFERS)
