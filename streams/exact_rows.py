"""Rows of a frame as dictionaries, without cutting times to microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from schemas.contract import Contract

__all__ = ["rows_of"]


def rows_of(contract: Contract) -> Callable[[pl.DataFrame], Iterator[dict[str, Any]]]:
    """Return what makes dictionaries of a frame's rows.

    Times are aware datetimes; of contracts in nanoseconds, pandas Timestamps, which are datetimes that hold them.
    """
    fine = [n for n, f in contract.record.fields.items() if f.logical == "timestamp-nanos"]
    if not fine:
        return lambda frame: frame.iter_rows(named=True)
    import pandas as pd

    def rows(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
        for row in frame.with_columns(pl.col(fine).cast(pl.Int64)).iter_rows(named=True):
            times = {n: pd.Timestamp(row[n], unit="ns", tz="UTC") for n in fine if row[n] is not None}
            yield row | times

    return rows
