"""Which files of a table can hold rows that are asked for, by their statistics alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from streams.archive.layout import AS_OF, Layout

__all__ = ["files_with"]

# Delta cuts the statistics of times to milliseconds, and may cut those of long texts.
_CUT = pl.duration(milliseconds=1)
_LONGEST_WHOLE = 30


def files_with(
    files: pl.DataFrame,
    layout: Layout,
    symbols: Sequence[str] | None,
    start: int | None,
    end: int | None,
    as_of: int | None,
) -> pl.DataFrame:
    """Return the files that may hold rows of these symbols, from `start` up to `end`, known at `as_of`.

    Args:
        files: as `Snapshot.files` gives them; what has no statistics is kept.
        symbols: sorted; None for all.
        start, end: nanoseconds since the epoch, None for no limit.
        as_of: milliseconds since the epoch.
    """
    contract, period = layout.contract, pl.col(f"partition.{layout.period}")
    time, key = contract.event_time, contract.key
    wanted = []
    if start is not None:
        wanted += [period >= layout.period_of(start), _upper(files, layout, time) >= _time(layout, start)]
    if end is not None:
        wanted += [period <= layout.period_of(end - 1), _known(files, f"min.{time}") < _time(layout, end)]
    if as_of is not None:
        wanted.append(_known(files, f"min.{AS_OF}") <= as_of)
    for condition in wanted:
        files = files.filter(condition.fill_null(True))
    if symbols is None or f"min.{key}" not in files.columns or not files.height:
        return files
    least = files[f"min.{key}"].fill_null("")
    most = files[f"max.{key}"].fill_null("\U0010ffff")
    cut = most.str.len_chars() >= _LONGEST_WHOLE
    most = most.zip_with(~cut, most + "\U0010ffff")
    all_ = pl.Series(sorted(symbols), dtype=pl.String)
    first = all_.search_sorted(least, side="left")
    behind = all_.search_sorted(most, side="right")
    return files.filter(pl.Series(np.asarray(behind) > np.asarray(first)))


def _known(files: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in files.columns else pl.lit(None)


def _upper(files: pl.DataFrame, layout: Layout, time: str) -> pl.Expr:
    most = _known(files, f"max.{time}")
    return most if layout.time_is_stored_as_number else most + _CUT


def _time(layout: Layout, nanos: int) -> pl.Expr:
    """Return a moment as the table's statistics have it."""
    if layout.time_is_stored_as_number:
        return pl.lit(layout.time_value(nanos))
    return pl.lit(-(-nanos // 1_000)).cast(pl.Datetime("us", "UTC"))
