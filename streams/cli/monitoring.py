"""`seamless monitoring`: dashboards, recording rules, alerts and runbooks for Prometheus and Grafana."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.context import JsonOption
from streams.cli.output import console

__all__ = ["app"]

app = typer.Typer(name="monitoring", help="Dashboards, rules and alerts.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them; made if it is not there.")],
    changes: Annotated[
        Path | None,
        typer.Option("--with", help="A jsonnet or JSON file whose object is laid over the bundle's configuration."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write Grafana's dashboards, Prometheus's rules and alerts, and the runbooks that the alerts lead to."""
    from operations.monitoring.bundle import rendered, written

    made = [str(path) for path in written(folder, rendered(changes))]
    if as_json:
        typer.echo(json.dumps({"dir": str(folder), "files": made}))
        return
    out = console()
    for path in made:
        out.print(path, soft_wrap=True)
    out.print(
        f"\nPrometheus: rule_files: [{folder}/rules/*.yml]\n"
        f"Grafana: a dashboard provider with path {folder}/dashboards",
        soft_wrap=True,
        markup=False,
    )
