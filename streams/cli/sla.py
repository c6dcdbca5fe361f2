"""`seamless sla`: what readers are promised, who said so, and how it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, loaded_from
from streams.cli.output import console
from streams.cli.sla_objectives import app as _objectives
from streams.cli.sla_override import app as _override
from streams.cli.sla_replay import replay
from streams.cli.sla_status import status, watch
from streams.durations import spelled
from streams.sla_policy import FOREVER
from streams.sla_resolve import checked_consumer

if TYPE_CHECKING:
    from streams.settings_sources import Origin
    from streams.sla_layers import Merged

__all__ = ["app"]

app = typer.Typer(name="sla", help="What readers are promised.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What readers are promised."""


@app.command()
def show(
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="The policies of this dataset only.", show_default=False)
    ] = None,
    consumer: Annotated[
        str | None, typer.Option("--consumer", help="The policies of this consumer only.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the policies in force, and where each value came from.

    Without --dataset and --consumer: the one for whatever nothing is said of, then each that may differ.
    """
    loaded = loaded_from(config, world)
    settings = loaded.settings
    if dataset is not None:
        settings.dataset(dataset)
    if consumer is not None:
        checked_consumer(consumer)
    uses = [(dataset, consumer)] if dataset or consumer else list(settings.sla.told_apart())
    found = [(*use, settings.sla.in_force(*use)) for use in uses]
    if as_json:
        typer.echo(json.dumps([_record(*each, loaded.origins) for each in found], indent=2))
        return
    for position, (of, by, policy) in enumerate(found):
        title = f"{of or 'any dataset'}, {f'consumer {by}' if by else 'any consumer'}"
        console().print(Text(("\n" if position else "") + title, "bold"))
        table = Table("field", "value", "from", box=None, pad_edge=False)
        for name, value, origin in _rows(policy, loaded.origins):
            table.add_row(name, _text(name, value), Text(origin, overflow="fold"))
        console().print(table)


def _rows(found: Merged, origins: Mapping[tuple[str, ...], Origin]) -> list[tuple[str, Any, str]]:
    rows = []
    for name, source in found.sources.items():
        origin = origins.get(source.setting) if source.setting else None
        said = f"{source}, {origin.name}" if origin else str(source)
        rows.append((name, getattr(found.policy, name), said))
    return rows


def _record(
    dataset: str | None, consumer: str | None, found: Merged, origins: Mapping[tuple[str, ...], Origin]
) -> dict[str, Any]:
    fields = {name: {"value": value, "from": origin} for name, value, origin in _rows(found, origins)}
    return {"dataset": dataset, "consumer": consumer, "policy": fields}


def _text(name: str, value: Any) -> str:
    if name == "min_coverage":
        return f"{value:.2%}"
    return FOREVER if value is None else spelled(value) if isinstance(value, float) else str(value)


for _command in (status, watch, replay):
    app.command()(_command)
app.add_typer(_objectives)
app.add_typer(_override)
