"""`seamless doctor`: what is wrong with an installation, and how to mend it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, loaded_from
from streams.cli.output import console
from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.doctor.finding import Finding

__all__ = ["doctor"]

_SHOWN = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "red"),
    "unknown": ("?", "dim"),
}


def doctor(
    config: ConfigOption = None,
    world: WorldOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.5, help="Seconds to wait for one answer.")] = 10.0,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Ask for the broker's time by a record in a topic of its own, deleted again."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at broker, rights, topics, registry, schemas, groups, archive, coordinator, ports, disk and clocks.

    Nothing is mended. Exit with 1 if there is a problem; a warning is none.
    """
    with Console(stderr=True).status("looking") as spinner:
        found = []
        for finding in _found(config, world, timeout, probe):
            found.append(finding)
            spinner.update(f"looking: {finding.check}")
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        _show(found)
    if any(finding.state == "problem" for finding in found):
        raise typer.Exit(1)


def _found(config: ConfigOption, world: WorldOption, timeout: float, probe: bool) -> Iterator[Finding]:
    from streams.doctor.diagnosis import diagnosed
    from streams.doctor.finding import problem

    try:
        loaded = loaded_from(config, world)
    except SettingsError as error:
        yield problem("settings", str(error), "Correct them; `seamless config check` looks again.")
        return
    yield from diagnosed(loaded, timeout, probe=probe)


def _show(found: Iterable[Finding]) -> None:
    found = list(found)
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in found:
        says, colour = _SHOWN[finding.state]
        text = Text(finding.says)
        if finding.remedy:
            text.append(f"\n  {finding.remedy}", "dim")
        table.add_row(Text(says, colour), Text(finding.check), text)
    out = console()
    out.print(table)
    counts = {state: sum(finding.state == state for finding in found) for state in _SHOWN}
    out.print(f"\n{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} fine.")
