"""`seamless quarantine`: look at rows that failed, and send them again after a fix."""

from __future__ import annotations

import getpass
import json
import math
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.errors import SettingsError

__all__ = ["app"]

app = typer.Typer(name="quarantine", help="Rows that failed conformance, with their reasons.", no_args_is_help=True)

DatasetArgument = Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET")]
FlagOption = Annotated[str | None, typer.Option("--reason", help="Only rows with this violation, such as non_finite.")]
ColumnOption = Annotated[str | None, typer.Option("--column", help="Only rows with a violation in this column.")]


def _store(dataset: str, config: Any, world: str | None) -> Any:
    from streams.quarantine_store import QuarantineStore
    from streams.registry import Registry

    settings = settings_from(config, world)
    return QuarantineStore(settings, dataset, Registry(settings.registry))


@app.command("list")
def list_rows(
    dataset: DatasetArgument,
    reason: FlagOption = None,
    column: ColumnOption = None,
    status: Annotated[str, typer.Option(help="open, replayed, dismissed or all.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many rows.")] = 50,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """List quarantined rows; PARTITION:OFFSET names a row for the other commands."""
    from streams.quarantine_store import RowChoice

    if status not in {"open", "replayed", "dismissed", "all"}:
        raise SettingsError(f"--status {status!r} is unknown: use open, replayed, dismissed or all")
    choice = RowChoice(None if status == "all" else status, reason, column)
    rows = list(_store(dataset, config, world).rows(choice))
    if as_json:
        typer.echo(json.dumps([_record(row) for row in rows[:limit]], indent=2))
        return
    table = Table("row", "status", "reasons", "from", "key", "quarantined at", box=None, pad_edge=False)
    for row in rows[:limit]:
        datum = row.datum
        table.add_row(
            row.name,
            row.status,
            ", ".join(f"{r['flag']}({r['column']})" if r["column"] else r["flag"] for r in datum["reasons"]),
            row.came_from,
            _text(datum["key"]),
            datum["quarantined_at"].strftime("%Y-%m-%d %H:%M:%S"),
        )
    out = console()
    out.print(table)
    out.print(f"{min(limit, len(rows)):,} of {_rows(len(rows))}" + (f" ({status})" if status != "all" else ""))


@app.command()
def show(
    dataset: DatasetArgument,
    row: Annotated[str, typer.Argument(help="The row, as PARTITION:OFFSET of the quarantine topic.", metavar="ROW")],
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one quarantined row in full."""
    from streams.quarantine_store import RowChoice

    choice = RowChoice(None, names=_names([row]))
    store = _store(dataset, config, world)
    found = list(store.rows(choice))
    if not found:
        raise SettingsError(f"there is no quarantined row {row} in {dataset}: `seamless quarantine list {dataset}`")
    record = _record(found[0]) | {"decoded": _plain(store.decoded(found[0]))}
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in record.items():
        if name == "reasons":
            value = "\n".join(" · ".join(filter(None, (r["flag"], r["column"], r["detail"]))) for r in value)
        elif name == "decoded" and value is not None:
            value = "\n".join(f"{field} = {shown!r}" for field, shown in value.items())
        table.add_row(name, Text("" if value is None else str(value), overflow="fold"))
    console().print(table)


@app.command()
def replay(
    dataset: DatasetArgument,
    reason: FlagOption = None,
    column: ColumnOption = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="Only this row (PARTITION:OFFSET); repeat.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every open row.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many rows it would be, and do nothing.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send rows to the raw topic again, after the producer or the contract was mended; each row once.

    Rows that backfill fetched are left: they never were in the raw topic. Request their range again, as
    of now.
    """
    _settle("replayed", dataset, reason, column, row, everything, dry_run, None, config, world, as_json)


@app.command()
def dismiss(
    dataset: DatasetArgument,
    why: Annotated[str, typer.Option("--why", help="Why these rows will never be needed.")],
    reason: FlagOption = None,
    column: ColumnOption = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="Only this row (PARTITION:OFFSET); repeat.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every open row.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many rows it would be, and do nothing.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mark rows as not worth replaying; they stay in the topic."""
    _settle("dismissed", dataset, reason, column, row, everything, dry_run, why, config, world, as_json)


def _settle(
    status: str,
    dataset: str,
    flag: str | None,
    column: str | None,
    rows: list[str] | None,
    everything: bool,
    dry_run: bool,
    why: str | None,
    config: Any,
    world: str | None,
    as_json: bool,
) -> None:
    from streams.clock import now_ms
    from streams.quarantine_store import RowChoice

    if everything == bool(flag or column or rows):
        raise SettingsError("say which rows: either --all, or --reason, --column and --row")
    choice = RowChoice("open", flag, column, _names(rows or []))
    store = _store(dataset, config, world)
    if dry_run:
        count = len(store.meant(choice, status))
    else:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"{status} ...", total=None)
            count = store.settle(
                choice,
                status,
                by=getpass.getuser(),
                reason=why,
                now_ms=now_ms(),
                progress=lambda n: progress.update(task, completed=n),
            )
    if as_json:
        typer.echo(json.dumps({"dataset": dataset, status: count, "dry_run": dry_run}))
    else:
        typer.echo(f"{_rows(count)} {'would be ' if dry_run else ''}{status}")
        if not count:
            typer.echo(f"No open row was meant: `seamless quarantine list {dataset} --status all` shows all rows.")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _names(rows: list[str]) -> frozenset[str]:
    for row in rows:
        partition, _, offset = row.partition(":")
        if not (partition.isdigit() and offset.isdigit()):
            raise SettingsError(f"{row!r} is no row: name it PARTITION:OFFSET, as `seamless quarantine list` does")
    return frozenset(rows)


def _record(row: Any) -> dict[str, Any]:
    """Return a row for output: bytes as hex, times in ISO 8601."""
    shown: dict[str, Any] = {"row": row.name, "status": row.status}
    for name, value in row.datum.items():
        if isinstance(value, bytes):
            is_text = name == "key" or row.fetched_from is not None  # what was fetched is kept as JSON
            shown[name] = _text(value) if is_text else value.hex()
        elif isinstance(value, datetime):
            shown[name] = value.isoformat()
        elif name == "headers":
            shown[name] = {h["name"]: _text(h["value"]) for h in value}
        else:
            shown[name] = value
    return shown


def _plain(value: Any) -> Any:
    """Return a decoded value as JSON can hold it, which knows neither NaN nor bytes nor decimals."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="replace")
