"""The parts of a stream alone: the order per symbol, the rows that wait, what a position has dealt with."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from schemas.columns import to_polars
from schemas.contract import Contract, load_contract
from streams.archive.layout import SYSTEM, Source
from streams.errors import SettingsError
from streams.provider.stream_dealt import Dealt, below
from streams.provider.stream_history import in_columns_of_contract
from streams.provider.stream_order import SymbolOrder, nanoseconds_of
from streams.provider.stream_position import StreamPosition, advanced
from streams.provider.stream_spill import Spill

BARS, TRADES = load_contract("ohlcv"), load_contract("trade")


def rows(contract: Contract, *several: dict[str, object]) -> pl.DataFrame:
    """Return rows of which only some columns matter."""
    neutral = {
        f.name: (0 if pa.types.is_integer(f.type) else 0.0 if pa.types.is_floating(f.type) else "")
        for f in contract.columns
    }
    batch = pa.RecordBatch.from_pylist([neutral | row for row in several], schema=contract.columns)
    return to_polars(batch, contract.record)


def bar(symbol: str, time: int) -> dict[str, object]:
    return {"symbol": symbol, "event_time": time}


def times(frame: pl.DataFrame) -> list[tuple[str, int]]:
    return list(frame.select("symbol", pl.col("event_time").to_physical()).iter_rows())


def placed(frame: pl.DataFrame, topic: str, partition: int, offsets: list[int]) -> pl.DataFrame:
    kinds = pl.DataFrame(pa.schema(list(SYSTEM.items())).empty_table()).schema
    system = {
        "_as_of": 0,
        "_topic": topic,
        "_partition": partition,
        "_offset": pl.Series(offsets),
        "_contract_version": 1,
    }
    return frame.with_columns(**{n: pl.lit(v) if not isinstance(v, pl.Series) else v for n, v in system.items()}).cast(
        {n: kinds[n] for n in system}
    )


def test_a_row_that_is_newer_than_all_of_its_symbol_is_let_through_and_others_are_late() -> None:
    order = SymbolOrder(BARS, {"A": 5_000})
    through, late = order.split(rows(BARS, bar("B", 1), bar("A", 4), bar("A", 5), bar("A", 6), bar("B", 7)))
    assert times(through) == [("B", 1), ("A", 6), ("B", 7)]
    assert times(late) == [("A", 4), ("A", 5)]
    assert order.last == {"A": 6_000, "B": 7_000}
    assert order.ties == {}


def test_two_trades_at_one_time_are_two_and_the_same_trade_again_is_none() -> None:
    order = SymbolOrder(TRADES)
    first, second = ({**bar("A", 5), "trade_id": name} for name in ("x", "y"))
    assert order.split(rows(TRADES, first))[0].height == 1
    through, late = order.split(rows(TRADES, first, second))
    assert through["trade_id"].to_list() == ["y"]
    assert late["trade_id"].to_list() == ["x"]
    assert order.ties == {"A": [["x"], ["y"]]}
    again = SymbolOrder(TRADES, order.last, order.ties)
    assert again.split(rows(TRADES, first, second, {**bar("A", 6), "trade_id": "x"}))[0].height == 1
    assert again.ties == {"A": [["x"]]}


def test_the_order_tells_without_learning_which_rows_it_would_let_through() -> None:
    order = SymbolOrder(BARS, {"A": 5_000})
    assert order.fresh(rows(BARS, bar("A", 5), bar("A", 6))).to_list() == [False, True]
    assert order.last == {"A": 5_000}


def test_rows_wait_in_memory_and_in_files_and_come_out_by_time() -> None:
    spill = Spill(in_memory=10)
    for start in (50, 0, 20, 90):
        frame = rows(BARS, *(bar("A", start + n) for n in range(8)))
        spill.add(frame, frame.select(nanoseconds_of(BARS)).to_series())
    assert spill.rows == 32
    assert spill.span == (0, 97_000)
    found = spill.between(5_000, 52_000)
    assert found is not None
    assert sorted(times(found)) == [("A", n) for n in (5, 6, 7, *range(20, 28), 50, 51)]
    assert spill.count(5_000, 52_000) == found.height
    assert spill.between(28_000, 50_000) is None
    folder = Path(spill._folder.name) if spill._folder else None
    assert folder is not None
    spill.forget_before(99_000)
    assert spill.rows == 0
    assert spill.span is None
    assert not list(folder.iterdir())
    spill.close()
    assert not folder.exists()


def test_what_is_below_an_offset_of_its_own_partition_is_told() -> None:
    frame = pl.concat(
        [
            placed(rows(BARS, bar("A", 1), bar("A", 2)), "normalized", 0, [4, 5]),
            placed(rows(BARS, bar("B", 1), bar("B", 2)), "history", 1, [4, 5]),
        ]
    )
    assert below(frame, {"normalized": {0: 5}, "history": {0: 9}}).to_list() == [True, False, False, False]
    assert not below(frame, {}).any()


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ({"since": {"normalized": {0: 12}}}, [True, True, False, False]),
        ({"taken": {"normalized": {0: 12}}, "reached": 2_000}, [True, False, False, False]),
        ({"taken": {"normalized": {0: 12}}, "reached": 2_000, "last": {"A": 2_000}}, [True, True, False, False]),
        (
            {"since": {"normalized": {0: 11}}, "taken": {"normalized": {0: 14}}, "reached": 4_000},
            [True, True, True, False],
        ),
    ],
)
def test_a_position_has_dealt_with_what_its_rule_says(position: dict[str, object], expected: list[bool]) -> None:
    began = StreamPosition(dataset="bars", world="w", **position)
    frame = placed(rows(BARS, *(bar("A", n) for n in (1, 2, 3, 4))), "normalized", 0, [10, 11, 12, 13])
    dealt = Dealt(began)
    ns = frame.select(nanoseconds_of(BARS)).to_series()
    found = dealt.mask(frame, ns, SymbolOrder(BARS, began.last).fresh(frame))
    assert found.to_list() == expected
    assert dealt.anything


def test_a_position_reads_back_from_its_text_as_it_was() -> None:
    position = StreamPosition(
        dataset="trades",
        world="w",
        symbols=("A", "B"),
        start=3,
        since={"normalized": {0: 1}},
        taken={"normalized": {0: 7}, "history": {3: 2}},
        reached=9,
        last={"A": 8},
        ties={"A": [["x", 1]]},
    )
    assert StreamPosition.parse(str(position)) == position
    assert StreamPosition.parse(position) is position


@pytest.mark.parametrize(
    "text", ["", "nonsense", '{"dataset": "bars"}', '{"dataset":"d","world":"w","taken":{"n":{"0":-1}}}']
)
def test_text_that_is_no_position_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(SettingsError, match=r"str\(stream.position\)"):
        StreamPosition.parse(text)


def test_offsets_are_moved_on_and_never_back() -> None:
    names = {"w.normalized.bars": "normalized"}
    moved = advanced({"normalized": {0: 5, 1: 1}}, {Source("w.normalized.bars", 0): 3}, names)
    assert moved == {"normalized": {0: 5, 1: 1}}
    assert advanced(moved, {Source("w.normalized.bars", 2): 4}, names) == {"normalized": {0: 5, 1: 1, 2: 4}}


def test_rows_of_an_older_version_get_the_newer_ones_columns_with_defaults() -> None:
    empty = rows(BARS)
    older = rows(BARS, bar("A", 1)).drop("flags")
    found = in_columns_of_contract(older, BARS, empty)
    assert found.schema == empty.schema
    assert found["flags"].to_list() == [0]
