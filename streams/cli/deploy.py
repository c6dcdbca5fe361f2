"""`seamless deploy record`: writes down that another version runs from now on."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.build import VERSION
from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.rollback import ReasonOption, checked_reason
from streams.cli.schema_trail import who

__all__ = ["app"]

app = typer.Typer(name="deploy", help="What runs, since when and why.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What runs, since when and why."""


@app.command()
def record(
    reason: ReasonOption,
    version: Annotated[str, typer.Argument(help="The version that runs from now on.")] = VERSION,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write down a deploy, for postmortems and the audit trail; to be called by whatever deploys."""
    from streams.operating.recording import decided, new_operation
    from streams.registry import Registry

    checked_reason(reason)
    settings = settings_from(config, world)
    made = new_operation("deploy", who(), reason, version=version)
    with Registry(settings.registry) as registry:
        decided(settings, registry, lambda _: [made])
    if as_json:
        typer.echo(
            json.dumps({"id": made.id, "at": made.when.isoformat(), "by": made.by, "version": version}, indent=2)
        )
        return
    typer.echo(f"{made.when:%Y-%m-%d %H:%M:%S UTC}: version {version}, by {made.by}")
