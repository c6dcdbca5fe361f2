"""Rows that form a grid are put in order without sorting, and whatever else rows form, the order is the same."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.contract import load_contract
from streams.archive.grid import grid_order
from streams.archive.newest import only_rows
from streams.archive.runs import runs_of

BARS = load_contract("ohlcv")
Matrix = tuple[int, range]


def stored(matrices: list[Matrix]) -> pl.DataFrame:
    """Return rows as files hold them: by symbol and then by time, each file with so many symbols and those minutes."""
    parts = [
        pl.DataFrame({"symbol": [f"S{n:02d}"] * len(minutes), "event_time": np.array(minutes)})
        for symbols, minutes in matrices
        for n in range(symbols)
    ]
    return pl.concat(parts).with_row_index("open").select("symbol", "event_time", "open")


def order_of(frame: pl.DataFrame) -> list[int] | None:
    found = grid_order(frame["event_time"].to_numpy(), runs_of(frame["symbol"]))
    return None if found is None else found.tolist()


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    symbols=st.lists(st.integers(2, 5), min_size=4, max_size=4),
    data=st.data(),
)
def test_any_grid_is_ordered_as_sorting_does(lengths: list[int], symbols: list[int], data: st.DataObject) -> None:
    borders = np.cumsum([0, *lengths]).tolist()
    files = [(s, range(a, b)) for s, a, b in zip(symbols, borders[:-1], borders[1:], strict=False)]
    frame = stored(data.draw(st.permutations(files)))
    assert order_of(frame) == frame.sort("event_time", "symbol")["open"].to_list()


@settings(deadline=None)
@given(rows=st.integers(1_000, 1_500), symbols=st.integers(2, 5), data=st.data())
def test_a_grid_with_a_hole_is_ordered_as_sorting_does(rows: int, symbols: int, data: st.DataObject) -> None:
    frame = stored([(symbols, range(rows // symbols))])
    gone = data.draw(st.integers(0, frame.height - 1))
    frame = frame.filter(pl.col("open") != gone)
    found = only_rows(frame, BARS)
    assert found is not None
    assert found.equals(frame.sort("event_time", "symbol"))


@pytest.mark.parametrize(
    "frame",
    [
        stored([(2, range(3)), (2, range(2, 5))]),
        stored([(2, range(3)), (2, range(3))]),
        stored([(2, range(3))]).reverse(),
        pl.concat([stored([(1, range(3))]), stored([(2, range(1, 4))]).filter(symbol="S01")]),
    ],
    ids=["files whose times overlap", "rows that are there twice", "falling times", "symbols at other times"],
)
def test_what_is_no_grid_is_not_taken_for_one(frame: pl.DataFrame) -> None:
    assert order_of(frame) is None
