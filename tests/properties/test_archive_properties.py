"""Reading as a naive oracle does it, and fingerprints that depend on nothing but the content."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract import load_contract
from streams.archive.fingerprint import Fingerprint, fingerprint
from streams.archive.layout import Layout
from streams.archive.newest import newest_rows
from tests.support.archive_tables import Stored, stored_rows
from tests.support.examples import examples

BARS, TRADES = load_contract("ohlcv"), load_contract("trade")
ORDER = {"history": 0, "normalized": 1}


def bar(symbol: str, minute: int, close: float) -> dict[str, Any]:
    price = {"open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": 1.0}
    return {"symbol": symbol, "event_time": minute * 60_000_000, "flags": 0, **price}


def trade(symbol: str, time: int, number: int, price: float) -> dict[str, Any]:
    more = {"trade_id": str(number), "price": price, "size": 1.0, "side": "buy", "flags": 0}
    return {"symbol": symbol, "event_time": time, **more}


places = st.tuples(st.integers(0, 5), st.sampled_from(["history", "normalized"]))
bars = st.builds(bar, st.sampled_from(["A", "B", "CC", "é"]), st.integers(-3, 4), st.floats(1, 9))
trades = st.builds(trade, st.sampled_from(["A", "B"]), st.integers(0, 4), st.integers(0, 5), st.floats(1, 9))


def numbered(rows: list[tuple[dict[str, Any], tuple[int, str]]]) -> list[Stored]:
    return [Stored(row, as_of, offset, topic) for offset, (row, (as_of, topic)) in enumerate(rows)]


def oracle(stored: list[Stored], identity: tuple[str, ...], as_of: int | None) -> list[dict[str, Any]]:
    best: dict[tuple[Any, ...], Stored] = {}
    for one in stored:
        if as_of is not None and one.as_of > as_of:
            continue
        key = tuple(one.row[n] for n in identity)
        if key not in best or rank(one) > rank(best[key]):
            best[key] = one
    rows = [dict(one.row) for one in best.values()]
    rest = [n for n in identity if n not in {"symbol", "event_time"}]
    return sorted(rows, key=lambda r: (r["event_time"], r["symbol"], *(r[n] for n in rest)))


def rank(one: Stored) -> tuple[int, int, int]:
    return one.as_of, ORDER[one.topic], one.offset


def found(stored: list[Stored], contract: Any, as_of: int | None, seed: int) -> list[dict[str, Any]]:
    mixed = stored[:]
    random.Random(seed).shuffle(mixed)
    frame = pl.DataFrame(stored_rows(contract, mixed))
    if as_of is not None:
        frame = frame.filter(pl.col("_as_of") <= as_of)
    return newest_rows(frame, contract).to_dicts()


@given(st.lists(st.tuples(bars, places), max_size=40), st.none() | st.integers(0, 5), st.integers(0, 9))
@examples(150)
def test_the_newest_bars_are_those_of_the_oracle_at_any_moment(rows: Any, as_of: int | None, seed: int) -> None:
    stored = numbered(rows)
    assert found(stored, BARS, as_of, seed) == oracle(stored, BARS.identity, as_of)


@given(st.lists(st.tuples(trades, places), max_size=40), st.none() | st.integers(0, 5), st.integers(0, 9))
@examples(150)
def test_the_newest_trades_are_those_of_the_oracle_also_where_their_time_was_corrected(
    rows: Any, as_of: int | None, seed: int
) -> None:
    stored = numbered(rows)
    assert found(stored, TRADES, as_of, seed) == oracle(stored, TRADES.identity, as_of)


def test_times_centuries_apart_are_sorted_all_the_same() -> None:
    years = [trade("A", t, n, 1.0) for n, t in enumerate([9 * 10**18, -9 * 10**18, 0])]
    stored = [Stored(row, 0, n) for n, row in enumerate(years)]
    assert found(stored, TRADES, None, 1) == oracle(stored, TRADES.identity, None)


@given(st.lists(trades, max_size=30), st.lists(st.integers(0, 30), max_size=4), st.integers(0, 3))
@examples(100)
def test_a_fingerprint_depends_on_neither_pieces_nor_encodings(rows: Any, cuts: list[int], junk: int) -> None:
    table = pa.Table.from_pylist(rows, schema=TRADES.columns)
    whole = fingerprint(TRADES, 1, [table])
    borders = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    assert fingerprint(TRADES, 1, [table.slice(a, b - a) for a, b in pairwise(borders)]) == whole
    encoded = table.set_column(0, "symbol", table.column("symbol").dictionary_encode())
    large = encoded.set_column(2, "trade_id", table.column("trade_id").cast(pa.large_string()))
    assert fingerprint(TRADES, 1, [large]) == whole
    longer = pa.concat_tables([table.slice(0, junk), table]).slice(min(junk, len(rows)))
    assert fingerprint(TRADES, 1, longer.combine_chunks().to_batches()) == whole
    layout = Layout.of(TRADES, None)
    stored = layout.stored(stored_rows(TRADES, [Stored(r, 0, n) for n, r in enumerate(rows)]))
    back = layout.plain(stored.sort_by("_offset"))
    assert fingerprint(TRADES, 1, [back]) == whole


@given(st.lists(trades, min_size=1, max_size=10), st.data())
@examples(100)
def test_a_fingerprint_tells_any_change(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    whole = Fingerprint(TRADES, 1).add(pa.Table.from_pylist(rows, schema=TRADES.columns)).hexdigest()
    at = data.draw(st.integers(0, len(rows) - 1))
    name, value = data.draw(
        st.sampled_from([("price", 99.5), ("symbol", "Z"), ("trade_id", "x"), ("flags", 1), ("event_time", 77)])
    )
    changed = [row | {name: value} if n == at else row for n, row in enumerate(rows)]
    others = [(TRADES, 1, changed), (TRADES, 1, rows[:-1]), (TRADES, 2, rows), (TRADES, 1, [*rows, rows[-1]])]
    if rows[0] != rows[-1]:
        others.append((TRADES, 1, [rows[-1], *rows[1:-1], rows[0]]))
    for contract, version, other in others:
        assert fingerprint(contract, version, [pa.Table.from_pylist(other, schema=TRADES.columns)]) != whole


def test_texts_that_only_together_are_equal_have_other_fingerprints() -> None:
    def of(*names: str) -> str:
        return fingerprint(TRADES, 1, [pa.Table.from_pylist([trade(n, 0, 0, 1.0) for n in names], TRADES.columns)])

    assert of("AB", "C") != of("A", "BC")


def test_zero_has_no_sign_and_not_a_number_is_one_value() -> None:
    def of(price: float) -> str:
        return fingerprint(TRADES, 1, [pa.Table.from_pylist([trade("A", 0, 0, price)], TRADES.columns)])

    assert of(0.0) == of(-0.0)
    assert of(float("nan")) == of(-float("nan"))
