"""`seamless postmortem new`: a page about what happened, its time line filled in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.asked import moment_of
from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.errors import SettingsError

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["app"]

app = typer.Typer(name="postmortem", help="What happened, and what will be different.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What happened, and what will be different."""


@app.command()
def new(
    begin: Annotated[str, typer.Option("--from", help="When it began: a moment (UTC), or so long ago, as 2h.")],
    end: Annotated[
        str | None, typer.Option("--to", help="When it was over, likewise; without it, now.", show_default=False)
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="What to call it.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; without it, it is printed.", show_default=False)
    ] = None,
    language: Annotated[str, typer.Option("--language", help="en or ko.")] = "en",
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a page of the template, with the breaches, changes of modes, rollbacks and deploys of that time."""
    from streams.build import VERSION
    from streams.clock import now
    from streams.postmortem.gathering import gathered
    from streams.postmortem.page import LANGUAGES, page_of
    from streams.registry import Registry

    chosen = next((each for each in LANGUAGES if each == language), None)
    if chosen is None:
        raise SettingsError(f"--language {language!r} is unknown: use one of {', '.join(LANGUAGES)}")
    first, last = _moment("--from", begin), now() if end is None else _moment("--to", end)
    if last <= first:
        raise SettingsError("--to is not after --from: give a later one")
    if out is not None and out.exists():
        raise SettingsError(f"{out} is there already: name another file, as what people wrote must not be lost")
    settings = settings_from(config, world)
    with Registry(settings.registry) as registry, _telling() as status:
        story = gathered(settings, registry, first, last, lambda what: status.update(f"reading {what}"))
    if as_json:
        text = json.dumps([event.to_json() for event in story.events], indent=2) + "\n"
    else:
        name = title or f"{first:%Y-%m-%d}, {settings.world}"
        text = page_of(story, title=name, world=settings.world, version=VERSION, language=chosen)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror or error}. Choose another file") from error
    typer.echo(f"{out}: {len(story.events)} events; what only people can say is left open")


def _moment(option: str, text: str) -> datetime:
    from datetime import timedelta

    from streams.clock import now
    from streams.durations import duration_ns

    try:
        return now() - timedelta(microseconds=duration_ns(text) // 1_000)
    except ValueError:
        return moment_of(option, text, "UTC")


@contextmanager
def _telling() -> Iterator[Status]:
    from rich.console import Console

    with Console(stderr=True).status("reading") as status:
        yield status
