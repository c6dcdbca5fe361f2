"""`seamless config`: check the settings, and show each with where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer
from pydantic import BaseModel, SecretStr
from rich.table import Table
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, loaded_from
from streams.cli.output import console
from streams.errors import SettingsError
from streams.settings import LoadedSettings
from streams.settings_problems import dotted, report

__all__ = ["app", "rows"]

app = typer.Typer(name="config", help="The settings in effect.", no_args_is_help=True)

MASK = "********"


@app.command()
def check(config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Read the settings and say whether all is well; exit with 2, and every reason, if not."""
    try:
        loaded = loaded_from(config, world)
        _check_client(loaded)
        _check_datasets(loaded)
    except SettingsError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"ok": False, "error": str(error)}))
        raise typer.Exit(2) from None
    settings = loaded.settings
    datasets = sorted(settings.datasets)
    if as_json:
        typer.echo(json.dumps({"ok": True, "world": settings.world, "datasets": datasets}))
    else:
        named = ", ".join(datasets) or "no datasets yet"
        console().print(Text(f"The settings are fine: world {settings.world}, {named}."))


@app.command()
def show(config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Print every setting with its value and where that came from; secrets are masked."""
    shown = list(rows(loaded_from(config, world)))
    if as_json:
        records = [{"name": name, "value": value, "from": origin} for name, value, origin in shown]
        typer.echo(json.dumps(records, indent=2))
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for name, value, origin in shown:
        text = "" if value is None else json.dumps(value)
        table.add_row(
            Text(name, overflow="fold"), Text(text, overflow="fold"), Text(origin, "dim" if origin == "default" else "")
        )
    console().print(table)


def rows(loaded: LoadedSettings) -> Iterator[tuple[str, Any, str]]:
    """Yield the full name, the value with secrets masked, and the origin of each setting."""
    for where, value in _leaves(loaded.settings, ()):
        origin = loaded.origins.get(where)
        yield dotted(where), _plain(value), origin.name if origin else "default"


def _leaves(value: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), (*where, name))
    elif isinstance(value, dict):
        for name in value:
            yield from _leaves(value[name], (*where, name))
    else:
        yield where, value


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _check_client(loaded: LoadedSettings) -> None:
    """Let librdkafka judge the properties that are handed to it; no connection is made."""
    from streams.topic_admin import TopicAdmin

    TopicAdmin(loaded.settings.kafka)


def _check_datasets(loaded: LoadedSettings) -> None:
    """Read the contracts and the raw schemas that the datasets name."""
    from streams.dataset_checks import problems_of_datasets

    problems = problems_of_datasets(loaded.settings, loaded.origins)
    if problems:
        raise SettingsError(report(problems))
