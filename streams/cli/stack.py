"""`seamless up`, `down` and `status`: the embedded stack at a person's command."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from streams.cli.context import JsonOption
from streams.cli.output import console
from streams.clock import monotonic, now

if TYPE_CHECKING:
    from operations.stack import StackState
    from operations.stack.health import PartHealth

__all__ = ["down", "status", "up"]

NOT_HEALTHY = 3
"""Exit code of `status` when the stack does not run, or not as a whole."""

_STYLES = {"healthy": "green", "silent": "yellow", "dead": "red", "stopped": "dim"}

DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="The stack's folder (default: SEAMLESS_STACK_DIR, then ./.seamless/stack).",
        show_default=False,
    ),
]
PortRange = {"min": 1, "max": 65_535, "show_default": False}


def up(
    directory: DirOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Wipe all topics and schemas first.")] = False,
    kafka_port: Annotated[
        int | None, typer.Option("--kafka-port", help="The broker's port (default: a free one).", **PortRange)
    ] = None,
    registry_port: Annotated[
        int | None,
        typer.Option("--registry-port", help="The registry's port (default: a free one).", **PortRange),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start Kafka and the schema registry, or mend what of them is dead. They run until `seamless down`."""
    # Imported when needed, here and below: no other command should wait for it.
    from operations.stack import EmbeddedStack
    from operations.stack.install import install

    began = monotonic()
    # A plain kill must leave as little behind as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    install()  # before the spinner, because it draws its own progress
    with Console(stderr=True).status("starting") as spinner:
        stack = EmbeddedStack(
            directory,
            kafka_port=kafka_port,
            registry_port=registry_port,
            train=True,
            notify=lambda text: spinner.update(text),
        )
        state = stack.start(fresh=fresh)
    if as_json:
        typer.echo(json.dumps(_summary(state)))
        return
    out = console()
    out.print(_table(_inspect(state)))
    out.print(f"Kafka:    {state.bootstrap_servers}\nRegistry: {state.registry_url}", soft_wrap=True)
    out.print(f"Ready after {monotonic() - began:.1f} s. Data and logs are in {state.dir}", soft_wrap=True)


def down(directory: DirOption = None, as_json: JsonOption = False) -> None:
    """Stop the stack. Its topics and schemas stay for the next `seamless up`."""
    from operations.stack import EmbeddedStack

    with Console(stderr=True).status("stopping") as spinner:
        stack = EmbeddedStack(directory, notify=lambda text: spinner.update(text))
        stopped = stack.stop()
    if as_json:
        typer.echo(json.dumps({"dir": str(stack.dir), "stopped": stopped}))
    else:
        typer.echo("Stopped." if stopped else f"Nothing runs in {stack.dir}")


def status(directory: DirOption = None, as_json: JsonOption = False) -> None:
    """Show how the stack is; exit code 0 if all of it answers, 3 if not."""
    from operations.stack.paths import stack_dir
    from operations.stack.state import read_state

    folder = stack_dir(directory)
    state = read_state(folder)
    parts = _inspect(state) if state is not None else []
    healthy = bool(parts) and all(part.condition == "healthy" for part in parts)
    if as_json:
        summary = _summary(state) if state is not None else {"dir": str(folder)}
        shown = summary | {"healthy": healthy, "parts": [asdict(part) for part in parts]}
        typer.echo(json.dumps(shown))
    elif state is None or all(part.condition == "stopped" for part in parts):
        typer.echo(f"No stack runs in {folder}. Start one: seamless up")
    else:
        out = console()
        out.print(_table(parts))
        if not healthy:
            out.print(f"Mend it: seamless up. The logs are in {folder / 'logs'}", soft_wrap=True)
    if not healthy:
        raise typer.Exit(NOT_HEALTHY)


def _inspect(state: StackState) -> list[PartHealth]:
    from operations.stack.health import inspect

    return inspect(state, now())


def _summary(state: StackState) -> dict[str, object]:
    return {
        "dir": str(state.dir),
        "bootstrap_servers": state.bootstrap_servers,
        "registry_url": state.registry_url,
        "started_at": state.started_at.isoformat(),
    }


def _table(parts: list[PartHealth]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("PART", "VERSION", "PID", "ADDRESS", "CONDITION", "MEMORY", "UPTIME"):
        table.add_column(heading, justify="right" if heading in {"PID", "MEMORY", "UPTIME"} else "left")
    for part in parts:
        table.add_row(
            part.part,
            part.version or "-",
            str(part.pid or "-"),
            part.address,
            f"[{_STYLES[part.condition]}]{part.condition}[/]",
            "-" if part.memory_bytes is None else f"{part.memory_bytes / 1e6:.0f} MB",
            "-" if part.uptime_s is None else _duration(part.uptime_s),
        )
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
