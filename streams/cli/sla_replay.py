"""`seamless sla replay`: what would have been told of recorded observations with other objectives."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from streams.cli.context import ConfigOption, JsonOption, WorldOption, loaded_from
from streams.cli.output import console
from streams.clock import now_ms
from streams.durations import MS_NS, duration_ns
from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.sla.breach import Breach

__all__ = ["replay"]


def replay(
    since: Annotated[str, typer.Option("--from", help="How far back, such as 6h or 2d, or a time: 2026-03-02T14:30Z.")],
    objectives: Annotated[
        Path | None,
        typer.Option(
            "--objectives",
            help="A file with tables [sla.objectives.<name>]; default: those in force.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fold recorded observations again, and print the breaches that would have followed; nothing is written.

    Of the objectives in the file none of the settings is left. Backfill jobs are left out: they are not observations.
    """
    from streams.registry import Registry
    from streams.sla.replay import replay as run

    settings = loaded_from(config, world).settings
    since_ms = _moment(since)
    if objectives is not None:
        settings = _with(settings, objectives)
    errors = Console(stderr=True)
    columns = (TextColumn("reading observations"), BarColumn(), MofNCompleteColumn())
    with (
        Registry(settings.registry) as registry,
        Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar,
    ):
        task = bar.add_task("observations", total=None)
        found = run(settings, registry, since_ms=since_ms,
                    progress=lambda done, total: bar.update(task, completed=done, total=total))  # fmt: skip
    told = {name: getattr(found, name) for name in ("records", "observations", "late", "unreadable", "unrecorded")}
    if as_json:
        typer.echo(json.dumps({**told, "breaches": [_record(each) for each in found.breaches]}, indent=2))
        return
    table = Table("time", "state", "severity", "objective", "dataset", "consumer", "phase", "observed", "promise",
                  box=None, pad_edge=False)  # fmt: skip
    for each in found.breaches:
        observed = "-" if each.observed is None else f"{each.observed:.4g}"
        table.add_row(f"{each.at:%Y-%m-%d %H:%M:%S}", each.state, each.severity, each.objective, each.dataset,
                      each.consumer or "-", each.phase, observed, each.promise)  # fmt: skip
    if found.breaches:
        console().print(table)
    opened = sum(each.state == "opened" for each in found.breaches)
    console().print(f"{opened} breaches of {found.observations:,} observations ({found.late:,} came too late).")
    for one in found.unrecorded:
        console().print(f"{one}: nothing is said, as no agent recorded how new its rows were.", soft_wrap=True)


def _moment(text: str) -> int:
    """Return a moment, milliseconds since the epoch."""
    try:
        return now_ms() - duration_ns(text) // MS_NS
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"--from {text}: is neither a span such as 6h or 2d nor a time such as 2026-03-02T14:30Z."
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000)


def _with(settings: Settings, path: Path) -> Settings:
    """Return the settings with the objectives of a file in the place of all others."""
    from pydantic import ValidationError

    from streams.settings_sla import SLASettings

    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"--objectives {path}: cannot be read: {error}.") from None
    wanted: Any = tables.get("sla", {}).get("objectives") if isinstance(tables.get("sla"), dict) else None
    if not wanted:
        raise SettingsError(f"--objectives {path}: has no table [sla.objectives.<name>]; write one.")
    try:
        found = SLASettings.model_validate({"objectives": wanted}).objectives
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
                         for e in error.errors(include_url=False))  # fmt: skip
        raise SettingsError(f"--objectives {path}: {told}.") from None
    for name, one in found.items():
        if one.dataset is not None and one.dataset not in settings.datasets:
            raise SettingsError(f"--objectives {path}: objectives.{name}.dataset: there is no dataset {one.dataset!r}.")
    agent = settings.sla_agent.model_copy(update={"defaults": False})
    return settings.model_copy(
        update={"sla": settings.sla.model_copy(update={"objectives": found}), "sla_agent": agent}
    )


def _record(breach: Breach) -> dict[str, Any]:
    datum = breach.datum()
    return json.loads(json.dumps(datum, default=lambda value: value.isoformat()))  # type: ignore[no-any-return]
