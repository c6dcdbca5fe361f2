"""`seamless ready`: whether a system is done, line by line, with the evidence of each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, loaded_from
from streams.cli.output import console
from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.ready.span import Span
    from streams.ready.verdict import Verdict

__all__ = ["ready"]

_SHOWN = {"pass": ("pass", "green"), "fail": ("FAIL", "red"), "unknown": ("?", "yellow")}
_ENDS = {0: "ready", 1: "not ready", 2: "not known: not everything could be looked at"}


def ready(
    window: Annotated[str, typer.Option("--window", help="How long it must have been well until now.")] = "1h",
    baseline: Annotated[str, typer.Option("--baseline", help="What came before it, and says what is usual.")] = "24h",
    test_report: Annotated[
        Path | None,
        typer.Option(
            "--test-report",
            help="What pytest wrote with --seamless-report (default: build/test-report.json).",
            show_default=False,
        ),
    ] = None,
    runbooks: Annotated[
        Path | None,
        typer.Option(
            "--runbooks",
            help="A folder of runbooks, by language (default: those of this version).",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why each line is asked for, and how it is reckoned.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.5, help="Seconds the doctor waits for one answer.")
    ] = 10.0,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the definition of done against the running system: conformance, leases, promises, schemas, tests, runbooks.

    Exit with 0 if it is ready, with 1 if it is not, and with 2 if not everything could be looked at.
    """
    from streams.ready.checks import Asked, looked_at
    from streams.ready.tested import DEFAULT_PLACE
    from streams.ready.verdict import exit_code
    from streams.ready.why import WHY

    span = _span(window, baseline)
    asked = Asked(loaded_from(config, world), span, test_report or DEFAULT_PLACE, runbooks, timeout)
    with Console(stderr=True).status("looking") as spinner:
        found = list(looked_at(asked, lambda what: spinner.update(f"looking: {what}")))
    code, why = exit_code(found), WHY if explain else {}
    if as_json:
        told = {
            "ready": code == 0,
            "world": asked.loaded.settings.world,
            "at": span.end.isoformat(),
            "window_seconds": span.window.total_seconds(),
            "lines": [asdict(verdict) | ({"why": why[verdict.check]} if explain else {}) for verdict in found],
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        _show(found, why)
        console().print(f"\n{asked.loaded.settings.world} is {_ENDS[code]}", style="bold")
    if code:
        raise typer.Exit(code)


def _span(window: str, baseline: str) -> Span:
    from streams.clock import now
    from streams.durations import duration_ns
    from streams.ready.span import Span

    spans = {}
    for option, text in (("--window", window), ("--baseline", baseline)):
        try:
            spans[option] = timedelta(microseconds=duration_ns(text) / 1_000)
        except ValueError as error:
            raise SettingsError(f"{option}: {error}") from None
    try:
        return Span.of(now(), spans["--window"], spans["--baseline"])
    except ValueError as error:
        raise SettingsError(f"--baseline {baseline}: {error}; the window is {window}") from None


def _show(found: Iterable[Verdict], why: dict[str, str]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    explained = set[str]()
    for verdict in found:
        state, colour = _SHOWN[verdict.state]
        text = Text(f"{verdict.dataset}: {verdict.says}" if verdict.dataset else verdict.says)
        if verdict.remedy:
            text.append(f"\n  {verdict.remedy}", "dim")
        if verdict.check in why and verdict.check not in explained:
            explained.add(verdict.check)
            text.append(f"\n  why: {why[verdict.check]}", "italic dim")
        table.add_row(Text(state, colour), Text(verdict.check), text)
    console().print(table)
