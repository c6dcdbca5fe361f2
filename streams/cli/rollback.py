"""`seamless rollback`: take the edge off a running system, see what was taken back, and put it back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.cli.schema_trail import who
from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.operating.operation import Change, Operation
    from streams.operating.standing import Standing
    from streams.settings import Settings

__all__ = ["app", "checked_reason"]

app = typer.Typer(name="rollback", help="Take back what hurts, in a running system.", no_args_is_help=True)

DatasetOption = Annotated[
    str | None, typer.Option("--dataset", "-d", help="Only this dataset; else all.", show_default=False)
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with it.", show_default=False)]


@app.callback()
def _group() -> None:
    """Take back what hurts, in a running system."""


@app.command()
def shadow(
    reason: ReasonOption,
    dataset: DatasetOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let violations pass, flagged and reported, instead of quarantining them; normalizers follow within seconds."""
    from streams.operating.override import settings_under

    settings = settings_from(config, world)

    def plan(standing: Standing) -> list[Operation]:
        now = settings_under(settings, standing)
        changes = standing.setting("conformance", "shadow", _datasets(settings, dataset), now.mode_of)
        return _operation("shadow", reason, changes)

    _do(settings, plan, as_json, "every dataset asked for is in shadow mode already")


@app.command()
def sla(
    reason: ReasonOption,
    dataset: DatasetOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Not only the newest override: all, so that the settings are in force.")
    ] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put SLA overrides back to what they were before the newest; providers and the agent follow within seconds."""
    settings = settings_from(config, world)
    _datasets(settings, dataset)

    def plan(standing: Standing) -> list[Operation]:
        changes = standing.without_overrides(dataset) if everything else standing.previous_set(dataset)
        return _operation("sla", reason, changes)

    _do(settings, plan, as_json, "no SLA override is in force that was not taken back already")


@app.command()
def storage_first(
    reason: ReasonOption,
    dataset: DatasetOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let providers answer from archive and Kafka without asking the coordinator; what lacks is marked as missing."""
    from streams.operating.override import STORAGE_FIRST

    settings = settings_from(config, world)

    def plan(standing: Standing) -> list[Operation]:
        def was(name: str) -> str:
            return standing.value(f"provider/{name}") or "backfill through the coordinator"

        changes = standing.setting("provider", STORAGE_FIRST, _datasets(settings, dataset), was)
        return _operation(STORAGE_FIRST, reason, changes)

    _do(settings, plan, as_json, "every dataset asked for is storage-first already")


@app.command()
def undo(
    reason: ReasonOption,
    what: Annotated[
        str | None,
        typer.Argument(help="shadow, sla or storage-first; without it, all.", metavar="WHAT", show_default=False),
    ] = None,
    dataset: DatasetOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put back what rollbacks replaced, each value as it was; what was set anew since stays as it is."""
    from streams.operating.operation import ROLLBACKS
    from streams.operating.recording import new_operation

    checked_reason(reason)
    if what is not None and what not in ROLLBACKS:
        raise SettingsError(f"there is no rollback {what!r}: name one of {', '.join(ROLLBACKS)}, or none for all")
    settings = settings_from(config, world)
    _datasets(settings, dataset)

    def plan(standing: Standing) -> list[Operation]:
        found = reversed(standing.rollbacks(what, dataset))  # the newest first, so that each finds what it left
        return [new_operation("undo", who(), reason, standing.undoing(each, dataset), undoes=each.id) for each in found]

    _do(settings, plan, as_json, "no such rollback is in force")


@app.command()
def status(
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the rollbacks in force: what, since when, by whom, why, and what was in force before."""
    from streams.operating.recording import standing_now
    from streams.registry import Registry

    settings = settings_from(config, world)
    with Registry(settings.registry) as registry:
        standing = standing_now(settings, registry)
    _show(standing.rollbacks(), standing, as_json, "no rollback is in force")


def checked_reason(reason: str) -> str:
    """Return a reason; SettingsError if it says nothing."""
    if not reason.strip():
        raise SettingsError("--reason is empty: say why, as whoever reads the trail will ask")
    return reason


def _datasets(settings: Settings, dataset: str | None) -> list[str]:
    if dataset is not None:
        settings.dataset(dataset)
        return [dataset]
    return sorted(settings.datasets)


def _operation(what: str, reason: str, changes: Sequence[Change]) -> list[Operation]:
    from streams.operating.recording import new_operation

    checked_reason(reason)
    return [new_operation(what, who(), reason, changes)] if changes else []


def _do(settings: Settings, plan: Callable[[Standing], Sequence[Operation]], as_json: bool, nothing: str) -> None:
    from streams.operating.recording import decided
    from streams.registry import Registry

    with Registry(settings.registry) as registry:
        done, standing = decided(settings, registry, plan)
    _show(done, standing, as_json, f"nothing to do: {nothing}")


def _show(operations: Sequence[Operation], standing: Standing, as_json: bool, nothing: str) -> None:
    if as_json:
        told = [
            {
                **{name: value for name, value in each.to_avro().items() if name != "version"},
                "at": each.when.isoformat(),
                "changes": [
                    {"target": c.target, "before": c.before, "after": c.after, "was": c.was}
                    for c in standing.still(each)
                ],
            }
            for each in operations
        ]
        typer.echo(json.dumps(told, indent=2))
        return
    if not operations:
        typer.echo(nothing)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("what", "about", "before", "now", "since", "who", "why", "id", box=None, pad_edge=False)
    for each in operations:
        for change in standing.still(each):
            cells = (
                each.what,
                change.target,
                change.was,
                change.now,
                each.when.strftime("%Y-%m-%d %H:%M:%S UTC"),
                each.by,
                each.reason,
                each.id,
            )
            table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    console().print(table)
