"""`seamless coverage`: what the archive has of a dataset, a strip per symbol."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.asked import moment_of, symbols_of
from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console

if TYPE_CHECKING:
    from streams.archive.coverage import SymbolCoverage

__all__ = ["coverage", "short_time"]

_CELLS, _FEWEST_CELLS = 60, 10
_NUMBERS_WIDTH = 36
_MARKS = {"complete": ("█", "green"), "holed": ("▒", "yellow"), "missing": ("·", "red")}


def coverage(
    dataset: Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET")],
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols", "-s", help="Symbols, with commas between; or @FILE. Default: all archived.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="First day or moment (default: the first row's).", show_default=False)
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--end", help="Day or moment after the last (default: after the last row).", show_default=False),
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which bars the archive has and which are missing, by interval and calendar; of ticks, which sessions."""
    settings = settings_from(config, world)
    zone = settings.dataset(dataset).timezone
    names = None if symbols is None else symbols_of(symbols)
    begin = None if start is None else moment_of("--start", start, zone)
    stop = None if end is None else moment_of("--end", end, zone)
    # Imported when needed: no other command should wait for it.
    from streams.archive.covering import coverage_of
    from streams.archive.reader import ArchiveReader
    from streams.errors import ArchiveError

    snapshot = ArchiveReader(settings).snapshot(dataset)
    if snapshot is None:
        raise ArchiveError(f"nothing of {dataset} is archived: `seamless archive run` does it")
    found = list(coverage_of(settings, snapshot, names, begin, stop))
    if as_json:
        typer.echo(json.dumps({"dataset": dataset, "symbols": [as_record(one) for one in found]}, indent=2))
    else:
        _draw(dataset, found)


def as_record(one: SymbolCoverage) -> dict[str, Any]:
    """Return what there is of a symbol as JSON has it."""
    return {
        "symbol": one.symbol,
        "state": one.state,
        "start": _iso(one.start),
        "end": _iso(one.end),
        "expected": one.expected,
        "present": one.present,
        "ratio": round(one.ratio, 6),
        "complete": [{"start": _iso(r.start), "end": _iso(r.end)} for r in one.complete],
        "missing": [{"start": _iso(r.start), "end": _iso(r.end)} for r in one.missing],
    }


def _draw(dataset: str, found: Iterable[SymbolCoverage]) -> None:
    from rich.table import Table
    from rich.text import Text

    from streams.archive.coverage import strip

    rows = list(found)
    out = console()
    if not rows:
        out.print(f"{dataset}: the archive has no symbol")
        return
    out.print(f"{dataset}, {short_time(rows[0].start)} to {short_time(rows[0].end)}: {len(rows):,} symbols")
    table = Table("symbol", "", "there", "missing", "holes", box=None, pad_edge=False)
    for name in ("there", "missing", "holes"):
        next(c for c in table.columns if c.header == name).justify = "right"
    # A strip that does not fit beside the symbols and the numbers would be cut off, and with it its newest part.
    width = max(_FEWEST_CELLS, min(_CELLS, out.width - max(len(row.symbol) for row in rows) - _NUMBERS_WIDTH))
    for row in rows:
        cells = Text()
        for state in strip(row, width):
            mark, style = _MARKS[state]
            cells.append(mark, style)
        missing = row.expected - row.present
        table.add_row(row.symbol, cells, f"{row.ratio:.1%}", f"{missing:,}", f"{len(row.missing):,}")
    out.print(table)
    marks = Text.assemble(*((f"{mark} {name}  ", style) for name, (mark, style) in _MARKS.items()))
    out.print(marks)


def _iso(nanos: int) -> str:
    seconds, rest = divmod(nanos, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}".rstrip("0").rstrip(".") + "Z"


def short_time(nanos: int) -> str:
    """Return a time (nanoseconds since the epoch) to the minute, a midnight as its day."""
    text = datetime.fromtimestamp(nanos // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M")
    return text.removesuffix(" 00:00")
