"""`seamless tail`: a dataset's normalized rows as they come, flags by name."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.context import ConfigOption, WorldOption, settings_from
from streams.errors import SettingsError

if TYPE_CHECKING:
    import polars as pl

    from streams.subscription import Subscription

__all__ = ["tail"]

_TIME_WIDTH = 30


def tail(
    dataset: Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET")],
    symbol: Annotated[
        list[str] | None,
        typer.Option("--symbol", "-s", help="Only this symbol; may be repeated.", show_default=False),
    ] = None,
    from_: Annotated[
        str,
        typer.Option("--from", help="earliest, latest, or the time of arrival to begin at, such as 2024-05-01T09:30Z."),
    ] = "latest",
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Stop after N rows.", show_default=False)
    ] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop after the rows that are there now.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show a dataset's normalized rows; Ctrl-C ends it."""
    start = _start(from_)
    settings = settings_from(config, world)
    # Imported when needed: no other command should wait for it.
    from streams.subscription import subscribe

    left = limit
    try:
        with subscribe(dataset, symbol or None, start, settings, until_end=until_end) as rows:
            show = _Lines(rows, as_json)
            for frame in rows:
                show(frame if left is None else frame.head(left))
                left = None if left is None else left - len(frame)
                if left is not None and left <= 0:
                    break
    except KeyboardInterrupt:
        raise typer.Exit from None
    except BrokenPipeError:  # `seamless tail ... | head` has seen enough
        import os
        import sys

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _start(text: str) -> Any:
    if text in {"earliest", "latest"}:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--from {text}: use earliest, latest, or a time such as 2024-05-01T09:30Z") from None
    if moment.tzinfo is None:
        raise SettingsError(
            f"--from {text}: give the time a zone, such as {moment.isoformat()}Z or {moment.isoformat()}-05:00"
        )
    return moment


class _Lines:
    """Prints frames row by row in columns of steady width."""

    def __init__(self, rows: Subscription, as_json: bool) -> None:
        self._rows, self._json = rows, as_json
        self._flags, self._key = rows.contract.flags, rows.contract.key
        self._widths: dict[str, int] = {}

    def __call__(self, frame: pl.DataFrame) -> None:
        import polars as pl

        digits = {"ms": 3, "us": 6, "ns": 9}
        shown = frame.with_columns(
            pl.col(name).dt.to_string(f"%Y-%m-%dT%H:%M:%S%.{digits[kind.time_unit]}fZ")
            for name, kind in frame.schema.items()
            if isinstance(kind, pl.Datetime)
        )
        lines = (self._as_json if self._json else self._as_text)(shown)
        typer.echo("\n".join(lines))

    def _as_json(self, frame: pl.DataFrame) -> list[str]:
        import polars as pl

        # JSON has no NaN; that a number was one is told by the flag non_finite.
        frame = frame.with_columns(
            pl.when(pl.col(pl.Float32, pl.Float64).is_finite()).then(pl.col(pl.Float32, pl.Float64))
        )
        return [
            json.dumps(row | {"flag_names": self._names(row[self._flags])}, ensure_ascii=False, default=str)
            for row in frame.iter_rows(named=True)
        ]

    def _as_text(self, frame: pl.DataFrame) -> list[str]:
        lines = [] if self._widths else [self._header(frame)]
        for row in frame.iter_rows(named=True):
            cells = [self._cell(n, row[n]) for n in frame.columns if n != self._flags]
            names = ", ".join(self._names(row[self._flags]))
            lines.append("  ".join(cells) + (typer.style(f"  {names}", fg="yellow") if names else ""))
        return lines

    def _header(self, frame: pl.DataFrame) -> str:
        import polars as pl

        for name, kind in frame.schema.items():
            usual = 12 if kind.is_numeric() else 8
            text = frame[name].cast(pl.String).str.len_chars().max() if kind == pl.String else 0
            self._widths[name] = max(len(name), usual, min(int(str(text or 0)), _TIME_WIDTH))
        cells = [self._cell(n, n, right=frame[n].dtype.is_numeric()) for n in frame.columns if n != self._flags]
        return typer.style("  ".join([*cells, self._flags]), dim=True)

    def _cell(self, name: str, value: Any, *, right: bool | None = None) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        text = f"{value:,.10g}" if isinstance(value, float) else "" if value is None else str(value)
        return text.rjust(self._widths[name]) if right or (right is None and number) else text.ljust(self._widths[name])

    def _names(self, flags: int) -> list[str]:
        return [finding.name for finding in self._rows.explain(flags)]
