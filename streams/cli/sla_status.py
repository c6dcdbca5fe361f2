"""`seamless sla status`, `seamless sla watch`: how promises stand, once or as they change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.durations import spelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Settings
    from streams.sla.status import Standing

__all__ = ["status", "watch"]

_STYLES = {"warning": "bold yellow", "critical": "bold red"}


def status(config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Print each objective with what is observed, its burn rate, the budget that is left and its open breach.

    As agents wrote it last; breaches are written at once, all else every few seconds.
    """
    with _looks(settings_from(config, world)) as look:
        _print(look(), as_json)


def watch(
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2.0,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how promises stand, until Ctrl-C; with --json one line per look."""
    pause = threading.Event()
    out = console()
    with _looks(settings_from(config, world)) as look:
        try:
            if as_json or not out.is_terminal:
                while True:
                    _print(look(), as_json, one_line=True)
                    pause.wait(every)
            with Live(console=out, screen=False, auto_refresh=False) as live:
                while True:
                    live.update(_table(look()), refresh=True)
                    pause.wait(every)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


@contextmanager
def _looks(settings: Settings) -> Iterator[Callable[[], list[Standing]]]:
    from streams.errors import SettingsError
    from streams.registry import Registry
    from streams.sla.objectives import Objectives
    from streams.sla.status import standings
    from streams.sla.store import Codecs, read_states
    from streams.topic_admin import TopicAdmin
    from streams.topics import sla_state

    topic = sla_state(settings.world)
    found = TopicAdmin(settings.kafka).existing([topic]).get(topic)
    if found is None:
        raise SettingsError(f"There is no topic {topic}. Run `seamless topics apply`, and then `seamless sla-agent`.")
    objectives = Objectives(settings)
    with Registry(settings.registry) as registry:
        codecs = Codecs(settings, registry)
        yield lambda: standings(objectives, [read_states(settings, codecs, [p]) for p in range(found.partitions)])


def _print(found: list[Standing], as_json: bool, *, one_line: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps([each.record() for each in found], indent=None if one_line else 2))
    else:
        console().print(_table(found))


def _table(found: list[Standing]) -> RenderableType:
    if not found:
        return Text(
            "Nothing is observed. Does `seamless sla-agent` run? `seamless sla objectives check` says what it watches."
        )
    table = Table("objective", "dataset", "consumer", "phase", "promise", "observed", "budget left", "breach",
                  box=None, pad_edge=False)  # fmt: skip
    for each in found:
        breach = Text("-") if each.breach is None else Text(
            f"{each.breach.severity} since {each.breach.opened_at:%Y-%m-%d %H:%M:%S}", _STYLES[each.breach.severity]
        )  # fmt: skip
        left = "-" if each.budget_left is None else f"{each.budget_left:.1%}"
        table.add_row(each.objective, each.dataset, each.consumer or "-", each.phase, each.promise,
                      _shown(each.observed, each.unit), left, breach)  # fmt: skip
    as_of = max((each.as_of for each in found if each.as_of is not None), default=None)
    broken = sum(each.breach is not None for each in found)
    told = f"{broken} of {len(found)} broken" + ("" if as_of is None else f", as of {as_of:%Y-%m-%d %H:%M:%S} UTC")
    return Group(table, Text(told))


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return {"seconds": spelled(value), "ratio": f"{value:.2%}", "rate": f"burns {value:.2f} times"}[unit]
