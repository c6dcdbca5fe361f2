"""`seamless conformance run`: judge a file by a contract, without Kafka and without a settings file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streams.cli.context import JsonOption
from streams.cli.output import console
from streams.errors import ContractError, SettingsError

if TYPE_CHECKING:
    import polars as pl

    from schemas.conformance import ConformanceResult
    from schemas.contract import Contract

__all__ = ["app"]

app = typer.Typer(name="conformance", help="Rows judged by a contract.", no_args_is_help=True)

VIOLATIONS = 1
_SHOWN = 10


@app.callback()
def _group() -> None:
    """Keep `run` a command of a group, of which more may come."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A .csv or .parquet file of raw rows.", metavar="FILE")],
    contract: Annotated[str, typer.Option("--contract", help="A shipped contract's name, or the path of an .avsc.")],
    mode: Annotated[
        Literal["shadow", "blocking"],
        typer.Option("--mode", help="shadow passes rows flagged; blocking rejects those with a violation."),
    ] = "blocking",
    interval: Annotated[
        str | None,
        typer.Option("--interval", help="Spacing of bars such as 1d or 5m, to find gaps.", show_default=False),
    ] = None,
    calendar: Annotated[
        str, typer.Option("--calendar", help="Trading calendar that gaps are judged by, such as XNYS.")
    ] = "24/7",
    timezone: Annotated[str, typer.Option("--timezone", help="IANA zone of times that carry none.")] = "UTC",
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the report here, as JSON.", show_default=False)
    ] = None,
    accepted: Annotated[
        Path | None, typer.Option("--accepted", help="Write the rows that pass (.parquet, .csv).", show_default=False)
    ] = None,
    rejected: Annotated[
        Path | None,
        typer.Option("--rejected", help="Write the others with their reasons (.parquet, .csv).", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the rows of a file; exit with 1 if blocking mode found violations. Rows are numbered from 0."""
    # Imported when needed: no other command should wait for it.
    from schemas.conformance import ConformancePipeline
    from schemas.contract import load_contract
    from streams.files import columns_of_contract, read_frame, write_frame

    judged_by = load_contract(contract)
    _check_options(timezone, calendar)
    interval_ns = _interval(interval)
    pipeline = ConformancePipeline(
        judged_by, mode, dataset=file.name, interval_ns=interval_ns, calendar=calendar, timezone=timezone
    )
    frame = read_frame(file, columns_of_contract(judged_by))
    _check_columns(file, frame, judged_by)
    result = pipeline.run(frame)
    refused = _rejected(frame, result)
    if accepted is not None:
        write_frame(result.accepted, accepted)
    if rejected is not None:
        write_frame(refused, rejected)
    if report is not None:
        _write(report, result.report.model_dump_json(indent=2) + "\n")
    if as_json:
        shown = {"report": result.report.model_dump(mode="json"), "rejected": _reasons(result)}
        typer.echo(json.dumps(shown))
    else:
        _print(result, frame)
    if mode == "blocking" and result.report.violations:
        raise typer.Exit(VIOLATIONS)


def _interval(text: str | None) -> int | None:
    from streams.durations import duration_ns

    try:
        return None if text is None else duration_ns(text)
    except ValueError as error:
        raise SettingsError(f"--interval: {error}") from None


def _check_options(timezone: str, calendar: str) -> None:
    from zoneinfo import available_timezones

    from streams.calendar_names import calendar_names

    if timezone not in available_timezones():
        raise SettingsError(f"--timezone {timezone}: no such zone; use an IANA name such as America/New_York")
    if calendar not in calendar_names():
        raise SettingsError(f"--calendar {calendar}: no such calendar; use an exchange_calendars name such as XNYS")


def _check_columns(file: Path, frame: pl.DataFrame, contract: Contract) -> None:
    """Name every column that is missing, not only the first."""
    from streams.schema_checks import source_of

    missing = [
        f"{field.name} (or {', '.join(field.aliases)})" if field.aliases else field.name
        for field in contract.record.fields.values()
        if not field.has_default and source_of(field, frame.columns) is None
    ]
    if missing:
        raise ContractError(
            f"{file}: the contract {contract.name} needs columns that the file does not have: {'; '.join(missing)}. "
            f"The file has {', '.join(frame.columns)}: rename what is meant, or add it."
        )


def _reasons(result: ConformanceResult) -> list[dict[str, object]]:
    return [
        {"row": r.row, "reasons": [{"flag": x.flag, "column": x.column, "detail": x.detail} for x in r.reasons]}
        for r in result.rejected
    ]


def _rejected(frame: pl.DataFrame, result: ConformanceResult) -> pl.DataFrame:
    """Return the rejected rows as they were, each with its number and its reasons as text."""
    import polars as pl

    places = [r.row for r in result.rejected]
    reasons = ["; ".join(_words(x.flag, x.column or x.detail) for x in r.reasons) for r in result.rejected]
    return frame[places].with_columns(
        pl.Series("seamless_row", places, pl.Int64), pl.Series("seamless_reasons", reasons, pl.String)
    )


def _words(flag: str, where: str | None) -> str:
    return f"{flag} ({where})" if where else flag


def _write(path: Path, text: str) -> None:
    from streams.files import FileError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path}: it cannot be written: {error}") from error


def _print(result: ConformanceResult, frame: pl.DataFrame) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(result.report.table())
    if result.report.ignored_columns:
        out.print(f"Columns without a place in the contract: {', '.join(result.report.ignored_columns)}")
    if not result.rejected:
        return
    rows = frame[[r.row for r in result.rejected[:_SHOWN]]]
    table = Table("row", "reasons", "values", title="Rejected rows", title_justify="left")
    for each, values in zip(result.rejected, rows.iter_rows(named=True), strict=False):
        reasons = "\n".join(_words(x.flag, x.column or x.detail) for x in each.reasons)
        table.add_row(str(each.row), Text(reasons, "red"), Text(", ".join(f"{k}={v}" for k, v in values.items())))
    out.print(table)
    if len(result.rejected) > _SHOWN:
        out.print(f"and {len(result.rejected) - _SHOWN:,} more; --rejected FILE writes all of them")
