"""Rows of archive and Kafka merged as if all had been archived, wherever the archive ended."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.contract import Contract, load_contract
from streams.archive.layout import AS_OF
from streams.archive.reader import ArchiveReader, ArchiveRows
from streams.provider.live_reader import users_rows
from streams.provider.merging import margin_of, merged, without_archive
from streams.provider.stream_order import nanoseconds_of
from streams.provider.tail import Tail, Wanted
from tests.support.archive_tables import FakeArchive, Stored, archive_settings, stored_rows
from tests.support.examples import examples

BARS, TRADES = load_contract("ohlcv"), load_contract("trade")
SECOND = 1_000_000_000


def bar(symbol: str, minute: int, close: float) -> dict[str, Any]:
    price = {"open": 1.0, "high": 10.0, "low": 0.5, "close": close, "volume": 1.0}
    return {"symbol": symbol, "event_time": minute * 60_000_000, "flags": 0, **price}


def trade(symbol: str, seconds: int, number: int, price: float) -> dict[str, Any]:
    time = seconds * SECOND // (SECOND // TRADES.time_units)
    more = {"trade_id": str(number), "price": price, "size": 1.0, "side": "buy", "flags": 0}
    return {"symbol": symbol, "event_time": time, **more}


places = st.tuples(st.integers(0, 5), st.sampled_from(["history", "normalized"]))
symbols = st.sampled_from(["A", "B", "CC"])
bars = st.builds(bar, symbols, st.integers(0, 8), st.floats(1, 9))
# A correction moves a trade, at most half as far as a reader looks for it.
trades = st.builds(trade, symbols, st.integers(100, 125), st.integers(0, 4), st.floats(1, 9))


def tail_of(contract: Contract, rows: Sequence[Stored], wanted: Wanted) -> Tail:
    """Return rows as a reader of the topics gives them."""
    time, margin = nanoseconds_of(contract), margin_of(contract)
    frame = users_rows(stored_rows(contract, rows), contract)
    frame = frame.filter(time >= wanted.start - margin, time < wanted.end + margin)
    if wanted.symbols is not None:
        frame = frame.filter(pl.col("symbol").is_in(list(wanted.symbols)))
    if wanted.as_of is not None:
        frame = frame.filter(pl.col(AS_OF) <= wanted.as_of)
    return Tail(frame, contract, 1, {})


def both_ways(contract: Contract, stored: list[Stored], split: int, wanted: Wanted) -> tuple[ArchiveRows, ArchiveRows]:
    """Return the rows merged from the part that is archived and the rest, and those of an archive that has all."""
    known = None if wanted.as_of is None else wanted.as_of * 1_000_000
    name, interval = ("ohlcv", "1m") if contract is BARS else ("trade", None)
    with tempfile.TemporaryDirectory() as folder:
        whole = FakeArchive(archive_settings(Path(folder, "whole"), contract=name, interval=interval))
        whole.add(*stored)
        expected = ArchiveReader(whole.settings).read("bars", wanted.symbols, wanted.start, wanted.end, known)
        tail = tail_of(contract, stored[split:], wanted)
        if not split:
            return without_archive(tail, wanted), expected
        part = FakeArchive(archive_settings(Path(folder, "part"), contract=name, interval=interval))
        part.add(*stored[:split])
        snapshot = ArchiveReader(part.settings).snapshot("bars")
        assert snapshot is not None
        archived = snapshot.read(wanted.symbols, wanted.start, wanted.end, known)
        return merged(snapshot, archived, tail, wanted), expected


def check(contract: Contract, rows: list[Any], split: float, wanted: Wanted) -> None:
    stored = [Stored(row, as_of, offset, topic) for offset, (row, (as_of, topic)) in enumerate(rows)]
    got, expected = both_ways(contract, stored, round(split * len(stored)), wanted)
    assert got.frame.to_dicts() == expected.frame.to_dicts()
    assert got.fingerprint == expected.fingerprint


chosen = st.one_of(st.none(), st.just(("A", "CC")))
moments = st.one_of(st.none(), st.integers(0, 5))


@examples(40)
@given(
    st.lists(st.tuples(bars, places), min_size=1, max_size=30), st.floats(0, 1), chosen, moments,
    st.integers(0, 4), st.integers(5, 10),
)  # fmt: skip
def test_bars_are_the_same_wherever_the_archive_ends(
    rows: list[Any], split: float, names: tuple[str, ...] | None, as_of: int | None, first: int, last: int
) -> None:
    check(BARS, rows, split, Wanted("bars", names, first * 60 * SECOND, last * 60 * SECOND, as_of))


@examples(40)
@given(
    st.lists(st.tuples(trades, places), min_size=1, max_size=30), st.floats(0, 1), chosen, moments,
    st.integers(100, 112), st.integers(113, 126),
)  # fmt: skip
@example(
    [(trade("A", 105, 1, 2.0), (0, "normalized")), (trade("A", 110, 1, 3.0), (1, "history"))], 0.5, None, None, 100, 126
)
def test_trades_that_a_correction_moves_are_the_same_wherever_the_archive_ends(
    rows: list[Any], split: float, names: tuple[str, ...] | None, as_of: int | None, first: int, last: int
) -> None:
    check(TRADES, rows, split, Wanted("bars", names, first * SECOND, last * SECOND, as_of))
