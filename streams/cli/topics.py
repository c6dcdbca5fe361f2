"""`seamless topics`: compare the wanted topics with the broker's, and create what is missing."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.settings import Settings
from streams.topic_admin import TopicAdmin, TopicChange
from streams.topics import topics_for

__all__ = ["app"]

app = typer.Typer(name="topics", help="The topics that the settings call for.", no_args_is_help=True)

# On a narrower terminal the explanations would leave no room for the names.
_WIDTH_TO_EXPLAIN = 140

_SAYS = {
    "create": ("missing", "yellow"),
    "in_sync": ("in sync", "green"),
    "drift": ("differs", "red"),
    "created": ("created", "green"),
}


@app.command()
def plan(config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Show what `apply` would do; changes nothing and exits with 0."""
    settings = settings_from(config, world)
    with _asking(settings):
        changes = TopicAdmin(settings.kafka).plan(topics_for(settings))
    _show(changes, {change.spec.name: change.action for change in changes}, as_json)


@app.command()
def apply(config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Create the missing topics; exit with 1 if one that exists differs, as it is left alone."""
    settings = settings_from(config, world)
    with _asking(settings):
        changes = TopicAdmin(settings.kafka).apply(topics_for(settings))
    _show(
        changes,
        {change.spec.name: "created" if change.action == "create" else change.action for change in changes},
        as_json,
    )
    if any(change.drift for change in changes):
        raise typer.Exit(1)


def _asking(settings: Settings) -> Status:
    """Say at once what is waited for: a broker that is away is given some seconds."""
    return Console(stderr=True).status(escape(f"asking Kafka at {settings.kafka.bootstrap_servers}"))


def _show(changes: list[TopicChange], verdicts: dict[str, str], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_record(change, verdicts[change.spec.name]) for change in changes], indent=2))
        return
    out = console()
    explained = out.width >= _WIDTH_TO_EXPLAIN
    table = Table("topic", "partitions", "kept", "state", *(["holds"] if explained else []), box=None, pad_edge=False)
    for change in changes:
        says, colour = _SAYS[verdicts[change.spec.name]]
        state = "\n".join([says, *(f"{d.what}: {d.actual or 'unset'}, wanted {d.wanted}" for d in change.drift)])
        table.add_row(
            Text(change.spec.name, overflow="fold"),
            str(change.spec.partitions),
            _kept(change),
            Text(state, colour),
            *([Text(change.spec.holds)] if explained else []),
        )
    out.print(table)
    out.print(_summary(verdicts))


def _summary(verdicts: dict[str, str]) -> str:
    counts = {state: list(verdicts.values()).count(state) for state in _SAYS}
    parts = [f"{count} {_SAYS[state][0]}" for state, count in counts.items() if count]
    remedy = ""
    if counts["create"]:
        remedy = " `seamless topics apply` creates what is missing."
    if counts["drift"]:
        remedy += " Topics that differ are never altered here: change the settings, or the topic itself."
    return f"{', '.join(parts)}.{remedy}"


def _kept(change: TopicChange) -> str:
    if change.spec.config["cleanup.policy"] == "compact":
        return "newest of each key"
    kept = int(change.spec.config["retention.ms"])
    return "for ever" if kept < 0 else f"{kept / 86_400_000:g} days"


def _record(change: TopicChange, verdict: str) -> dict[str, object]:
    return {
        "topic": change.spec.name,
        "partitions": change.spec.partitions,
        "config": dict(change.spec.config),
        "state": verdict,
        "drift": [{"what": d.what, "wanted": d.wanted, "actual": d.actual} for d in change.drift],
        "holds": change.spec.holds,
    }
