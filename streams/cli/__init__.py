"""The `seamless` command: one module per group of commands, put together here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from streams.build import VERSION
from streams.cli.alert_bridge import alert_bridge
from streams.cli.archive import app as _archive
from streams.cli.backfill import app as _backfill
from streams.cli.config import app as _config
from streams.cli.conformance import app as _conformance
from streams.cli.coordinator import coordinator
from streams.cli.coverage import coverage
from streams.cli.demo import demo
from streams.cli.deploy import app as _deploy
from streams.cli.doctor import doctor
from streams.cli.fetch import fetch
from streams.cli.monitoring import app as _monitoring
from streams.cli.normalize import normalize
from streams.cli.postmortem import app as _postmortem
from streams.cli.produce import produce
from streams.cli.quarantine import app as _quarantine
from streams.cli.ready import ready
from streams.cli.rollback import app as _rollback
from streams.cli.schema import app as _schema
from streams.cli.sla import app as _sla
from streams.cli.sla_agent import sla_agent
from streams.cli.stack import down, status, up
from streams.cli.tail import tail
from streams.cli.topics import app as _topics
from streams.cli.worker import worker
from streams.errors import SeamlessError

__all__ = ["app", "main"]

app = typer.Typer(
    name="seamless",
    help="A streaming data provider on Kafka: market data that is complete, correct and on time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seamless {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    pass


for _command in (
    up,
    down,
    status,
    doctor,
    ready,
    demo,
    normalize,
    coordinator,
    worker,
    sla_agent,
    produce,
    tail,
    coverage,
    fetch,
    alert_bridge,
):
    app.command()(_command)
for _group in (
    _archive,
    _backfill,
    _config,
    _conformance,
    _deploy,
    _monitoring,
    _postmortem,
    _quarantine,
    _rollback,
    _schema,
    _sla,
    _topics,
):
    app.add_typer(_group)


def main() -> None:
    """Run the command line; a user's mistake is a message and exit code 2, never a trace."""
    try:
        app()
    except SeamlessError as error:
        Console(stderr=True, highlight=False).print("[bold red]error:[/] " + escape(str(error)), soft_wrap=True)
        sys.exit(2)
