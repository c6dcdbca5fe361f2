"""`seamless sla override`: what readers are promised, set in a running system."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.cli.rollback import ReasonOption, checked_reason
from streams.cli.schema_trail import who
from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.operating.operation import Change, Operation
    from streams.operating.standing import Standing
    from streams.settings import Settings

__all__ = ["app"]

app = typer.Typer(name="override", help="What is promised at run time, before the settings.", no_args_is_help=True)

DatasetOption = Annotated[str | None, typer.Option("--dataset", "-d", help="For this dataset.", show_default=False)]
ConsumerOption = Annotated[str | None, typer.Option("--consumer", help="For this consumer.", show_default=False)]
ObjectiveOption = Annotated[
    str | None, typer.Option("--objective", help="Of this objective, instead of a policy.", show_default=False)
]


@app.callback()
def _group() -> None:
    """What is promised at run time, before the settings."""


@app.command("set")
def set_(
    reason: ReasonOption,
    values: Annotated[
        list[str],
        typer.Argument(help="Fields of the policy or objective, as total_deadline=30s.", metavar="FIELD=VALUE"),
    ],
    dataset: DatasetOption = None,
    consumer: ConsumerOption = None,
    objective: ObjectiveOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Override fields of a policy or an objective; running providers and the agent follow within seconds.

    Without --dataset, --consumer and --objective it is for everybody.
    """
    from streams.operating.operation import AS_SET, Change
    from streams.operating.override import checked_override, settings_under

    checked_reason(reason)
    given = dict(_field(each) for each in values)
    settings = settings_from(config, world)
    target = _target(settings, dataset, consumer, objective)

    def plan(standing: Standing) -> list[Operation]:
        before, after = standing.value(target), checked_override(settings, standing, target, given)
        if before == after:
            return []
        done = _operation(reason, [Change(target, before, after, before or AS_SET)])
        tried = deepcopy(standing)
        tried.take(done[0])
        settings_under(settings, tried)  # refuses what would contradict other promises
        return done

    _do(settings, plan, as_json)


@app.command()
def clear(
    reason: ReasonOption,
    dataset: DatasetOption = None,
    consumer: ConsumerOption = None,
    objective: ObjectiveOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an override, so that weaker ones and the settings are in force."""
    from streams.operating.operation import Change

    checked_reason(reason)
    settings = settings_from(config, world)
    target = _target(settings, dataset, consumer, objective)

    def plan(standing: Standing) -> list[Operation]:
        before = standing.value(target)
        return [] if before is None else _operation(reason, [Change(target, before, None, before)])

    _do(settings, plan, as_json)


@app.command("list")
def list_(config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Show the overrides in force: since when, by whom and why."""
    from streams.operating.recording import standing_now
    from streams.registry import Registry

    settings = settings_from(config, world)
    with Registry(settings.registry) as registry:
        _show(standing_now(settings, registry), as_json)


def _field(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name.strip():
        raise SettingsError(f"{text!r}: give a field and its value, as total_deadline=30s")
    return name.strip(), value.strip()


def _target(settings: Settings, dataset: str | None, consumer: str | None, objective: str | None) -> str:
    from streams.operating.override import sla_target
    from streams.sla_resolve import checked_consumer

    if objective is not None and (dataset or consumer):
        raise SettingsError("an objective says itself whom it is about: leave out --dataset and --consumer")
    if dataset is not None:
        settings.dataset(dataset)
    for name in (consumer, objective):
        if name is not None:
            checked_consumer(name)
    return sla_target(dataset, consumer, objective)


def _operation(reason: str, changes: Sequence[Change]) -> list[Operation]:
    from streams.operating.recording import new_operation

    return [new_operation("override", who(), reason, changes)]


def _do(settings: Settings, plan: Callable[[Standing], Sequence[Operation]], as_json: bool) -> None:
    from streams.operating.recording import decided
    from streams.registry import Registry

    with Registry(settings.registry) as registry:
        done, standing = decided(settings, registry, plan)
    if not done and not as_json:
        typer.echo("nothing to do: it is so already")
        return
    _show(standing, as_json)


def _show(standing: Standing, as_json: bool) -> None:
    found = standing.under("sla")
    if as_json:
        told = [
            {
                "target": target,
                "values": json.loads(held.value or "{}"),
                "at": held.by.when.isoformat(),
                "by": held.by.by,
                "reason": held.by.reason,
                "id": held.by.id,
            }
            for target, held in found.items()
        ]
        typer.echo(json.dumps(told, indent=2))
        return
    if not found:
        typer.echo("no override is in force: what is promised is as the settings say")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("about", "values", "since", "who", "why", box=None, pad_edge=False)
    for target, held in found.items():
        values = ", ".join(f"{name}={value}" for name, value in json.loads(held.value or "{}").items())
        when = held.by.when.strftime("%Y-%m-%d %H:%M:%S UTC")
        table.add_row(*(Text(c, overflow="fold") for c in (target, values, when, held.by.by, held.by.reason)))
    console().print(table)
