"""`seamless fetch`: rows of a range, how complete they are, and why something is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.asked import moment_of, symbols_of
from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.coverage import as_record, short_time
from streams.cli.output import console
from streams.durations import spelled
from streams.errors import SettingsError

if TYPE_CHECKING:
    import polars as pl

    from streams.provider.result import FetchResult, Missing

__all__ = ["fetch"]

_SHOWN = 10
_OPERATIONS_S = 1.0


def fetch(
    dataset: Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET")],
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols",
            "-s",
            "--symbol",
            help="Symbols, with commas between; or @FILE. Default: all.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[str, typer.Option("--start", help="First day or moment.", show_default=False)] = ...,  # type: ignore[assignment]
    end: Annotated[
        str | None, typer.Option("--end", help="Day or moment after the last (default: now).", show_default=False)
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Only what was known at this moment.", show_default=False)
    ] = None,
    consumer: Annotated[
        str | None, typer.Option("--consumer", help="Whose policy is in force.", show_default=False)
    ] = None,
    sla: Annotated[
        str | None, typer.Option("--sla", help="A preset, instead of what the settings say.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the rows to this .parquet or .csv file.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch rows: from the archive, from Kafka, by backfill of what is missing, and live, inside of the policy."""
    settings = settings_from(config, world)
    zone = settings.dataset(dataset).timezone
    names = None if symbols is None else symbols_of(symbols)
    begin = moment_of("--start", start, zone)
    stop = None if end is None else moment_of("--end", end, zone)
    known = None if as_of is None else moment_of("--as-of", as_of, zone)
    write = None if output is None else _writer(output)
    # Imported when needed: no other command should wait for it.
    from streams.provider.provider import Provider

    with Provider(settings, consumer) as provider, _waiting(dataset, as_json):
        provider.wait_for_operations(_OPERATIONS_S)
        found = provider.fetch(dataset, names, begin, stop, sla=sla, as_of=known)
    if write is not None:
        write(found.frame)
    if as_json:
        typer.echo(json.dumps(as_document(found), indent=2))
    else:
        _show(found, output)


def as_document(found: FetchResult) -> Mapping[str, Any]:
    """Return all that is known of a result but its rows, as JSON has it."""
    return {
        "dataset": found.dataset,
        "start": _iso(found.start),
        "end": _iso(found.end),
        "as_of": None if found.as_of is None else _iso(found.as_of * 1_000_000),
        "rows": found.frame.height,
        "contract_version": found.contract_version,
        "fingerprint": found.fingerprint,
        "ratio": round(found.ratio, 6),
        "partial": found.partial,
        "symbols": [as_record(one) for one in found.coverage.values()],
        "missing": [_missing(one) for one in found.missing],
        "timings": {phase: round(seconds, 6) for phase, seconds in found.timings.items()},
        "violations": [
            {"objective": one.objective, "limit": one.limit, "actual": round(one.actual, 6)} for one in found.violations
        ],
        "reasons": dict(found.reasons),
        "degraded": dict(found.degraded),
        "positions": [
            {"topic": source.topic, "partition": source.partition, "offset": offset}
            for source, offset in sorted(found.positions.items())
        ],
    }


def _show(found: FetchResult, output: Path | None) -> None:
    from rich.table import Table

    out = console()
    marks = ", partial" if found.partial else ""
    out.print(
        f"{found.dataset}, {short_time(found.start)} to {short_time(found.end)}: {found.frame.height:,} rows, "
        f"{found.ratio:.2%} there{marks}"
    )
    if output is None and found.frame.height:
        out.print(str(found.frame), markup=False)
    table = Table("symbol", "there", "missing", "holes", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, one in found.coverage.items():
        table.add_row(name, f"{one.ratio:.1%}", f"{one.expected - one.present:,}", f"{len(one.missing):,}")
    out.print(table)
    for hole in found.missing[:_SHOWN]:
        out.print(f"missing {hole}", style="yellow", markup=False)
    if len(found.missing) > _SHOWN:
        out.print(f"missing {len(found.missing) - _SHOWN:,} ranges more: --json names them", style="yellow")
    for what, reason in found.degraded.items():
        out.print(f"without the {what}: {reason}", style="red", markup=False)
    told = set(found.degraded.values())
    for phase, reason in found.reasons.items():
        if reason not in told:
            out.print(f"{phase}: {reason}", style="yellow", markup=False)
    out.print(", ".join(f"{phase} {spelled(round(seconds, 3))}" for phase, seconds in found.timings.items()))
    out.print(f"fingerprint {found.fingerprint}")
    if output is not None:
        out.print(f"written to {output}", markup=False)


def _missing(one: Missing) -> Mapping[str, Any]:
    return {"symbol": one.symbol, "start": _iso(one.start), "end": _iso(one.end), "why": one.why, "detail": one.detail}


def _writer(output: Path) -> Callable[[pl.DataFrame], None]:
    """Return what writes rows to a file of the kind that its name says; SettingsError before anything is fetched."""
    if output.suffix not in (".parquet", ".csv"):
        raise SettingsError(f"--output {output}: give a name that ends in .parquet or .csv")
    if not output.parent.is_dir():
        raise SettingsError(f"--output {output}: there is no folder {output.parent}: make it first")

    def write(frame: pl.DataFrame) -> None:
        try:
            frame.write_parquet(output) if output.suffix == ".parquet" else frame.write_csv(output)
        except OSError as error:
            raise SettingsError(f"--output {output}: the file cannot be written: {error}") from error

    return write


def _waiting(dataset: str, quiet: bool) -> AbstractContextManager[object]:
    out = console()
    return nullcontext() if quiet or not out.is_terminal else out.status(f"fetching {dataset}")


def _iso(nanos: int) -> str:
    seconds, rest = divmod(nanos, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}".rstrip("0").rstrip(".") + "Z"
