"""A user's frame as the columns of a schema: nothing is guessed, and every complaint names its column."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from schemas.avro import AvroRecord, parse_record
from schemas.coerce import FrameError, coerce, table_of_row
from schemas.contract import load_contract

OHLCV = load_contract("ohlcv").record
NAIVE = datetime(2024, 1, 2)  # noqa: DTZ001 - that it has no zone is what is tested
NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


def bars(**changes: Any) -> pl.DataFrame:
    columns = {"symbol": ["A"], "event_time": [NOON], "open": [1.0], "high": [2.0], "low": [1.0], "close": [1.5]}
    return pl.DataFrame(columns | changes)


def record(**types: Any) -> AvroRecord:
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    return parse_record({"type": "record", "name": "R", "fields": fields})


@pytest.mark.parametrize(
    "make", [lambda f: f, lambda f: f.to_pandas(), lambda f: f.to_arrow(), lambda f: f.to_arrow().to_batches()[0]]
)
def test_polars_pandas_and_pyarrow_frames_give_the_same_columns(make: Any) -> None:
    batch = coerce(make(bars(volume=[5])), OHLCV)
    assert batch.to_pylist() == [
        {"symbol": "A", "event_time": int(NOON.timestamp() * 1e6), "open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5,
         "volume": 5.0, "flags": 0}
    ]  # fmt: skip


def test_columns_are_matched_by_name_whatever_their_order_and_defaults_fill_in() -> None:
    batch = coerce(bars().select(reversed(bars().columns)), OHLCV)
    assert batch.schema.names == list(OHLCV.fields)
    assert batch["volume"].to_pylist() == [0.0]


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (bars(vwap=[1.0]), "column 'vwap': the schema seamless.contracts.Ohlcv has no such field"),
        (bars().drop("close"), "column 'close': it is missing"),
        (bars(close=["1.5"]), "column 'close': it is text, but the schema wants double"),
        (bars(close=[True]), "column 'close': it is bool"),
        (bars(close=[None]), "column 'close': row 0 is null"),
        (bars(symbol=[7]), "column 'symbol': it is int64, but the schema wants string"),
        (bars(event_time=["2024-01-02"]), "column 'event_time': it is text"),
        (bars(event_time=[1.0]), "column 'event_time': it is double"),
        (bars(open=[2**60 + 1]), "column 'open': a value does not fit double"),
        (pd.DataFrame({"symbol": ["A", 1]}), "column 'symbol': its values are not of one type"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "columns x: they are there more than once"),
        ({"symbol": ["A"]}, "a dict is no frame"),
    ],
)
def test_what_does_not_fit_is_refused_by_column(frame: Any, complaint: str) -> None:
    with pytest.raises(FrameError) as caught:
        coerce(frame, OHLCV)
    assert complaint in str(caught.value)


def test_all_complaints_are_made_at_once() -> None:
    with pytest.raises(FrameError) as caught:
        coerce(bars(x=[1], close=["y"]).drop("low"), OHLCV)
    assert all(f"column '{name}'" in str(caught.value) for name in ("x", "close", "low"))


def test_a_naive_time_is_meant_in_the_given_zone_and_an_aware_one_is_not() -> None:
    naive = coerce(bars(event_time=[NAIVE]), OHLCV, "America/New_York")
    assert naive["event_time"][0].as_py() == int(datetime(2024, 1, 2, 5, tzinfo=UTC).timestamp() * 1e6)
    aware = coerce(bars(), OHLCV, "America/New_York")
    assert aware["event_time"][0].as_py() == int(NOON.timestamp() * 1e6)


def test_a_date_is_its_midnight() -> None:
    batch = coerce(bars(event_time=[date(2024, 1, 2)]), OHLCV)
    assert batch["event_time"][0].as_py() == int(datetime(2024, 1, 2, tzinfo=UTC).timestamp() * 1e6)


def test_a_time_finer_than_the_schema_is_refused_but_a_finer_unit_alone_is_not() -> None:
    def at(nanos: int) -> pl.DataFrame:
        return bars(event_time=pl.Series([nanos]).cast(pl.Datetime("ns", "UTC")))

    whole = int(NOON.timestamp()) * 1_000_000_000
    assert coerce(at(whole), OHLCV)["event_time"][0].as_py() == whole // 1_000
    with pytest.raises(FrameError, match="'event_time': it has times finer"):
        coerce(at(whole + 1), OHLCV)


def test_local_times_keep_their_clock_and_refuse_a_zone() -> None:
    local = record(at={"type": "long", "logicalType": "local-timestamp-millis"})
    batch = coerce(pl.DataFrame({"at": [NAIVE]}), local, "America/New_York")
    assert batch["at"][0].as_py() == int(datetime(2024, 1, 2, tzinfo=UTC).timestamp() * 1e3)
    with pytest.raises(FrameError, match="drop the zone"):
        coerce(pl.DataFrame({"at": [NOON]}), local)


def test_a_nan_is_a_number_where_nothing_may_be_missing() -> None:
    assert np.isnan(coerce(bars().to_pandas().assign(close=float("nan")), OHLCV)["close"][0].as_py())


def test_a_nan_of_pandas_is_a_null_where_something_may_be_missing() -> None:
    batch = coerce(pd.DataFrame({"x": [float("nan"), 1.0]}), record(x=["null", "double"]))
    assert batch["x"].to_pylist() == [None, 1.0]


def test_integers_must_fit_the_schema() -> None:
    assert coerce(pl.DataFrame({"x": [7]}), record(x="int"))["x"].to_pylist() == [7]
    with pytest.raises(FrameError, match=r"'x'.*does not fit int"):
        coerce(pl.DataFrame({"x": [2**31]}), record(x="int"))


def test_an_enum_takes_its_symbols_only() -> None:
    side = record(x={"type": "enum", "name": "Side", "symbols": ["buy", "sell"]})
    assert coerce(pl.DataFrame({"x": pl.Series(["buy"], dtype=pl.Categorical)}), side)["x"].to_pylist() == ["buy"]
    with pytest.raises(FrameError, match="'hold' is none of buy, sell"):
        coerce(pl.DataFrame({"x": ["buy", "hold"]}), side)


def test_a_decimal_keeps_its_digits_or_is_refused() -> None:
    price = record(x={"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2})
    assert coerce(pa.table({"x": [Decimal("12.34")]}), price)["x"].to_pylist() == [Decimal("12.34")]
    with pytest.raises(FrameError, match="'x'"):
        coerce(pa.table({"x": [Decimal("12.345")]}), price)


def test_a_frame_of_no_rows_is_fine() -> None:
    assert coerce(bars().clear(), OHLCV).num_rows == 0
    assert coerce(bars().to_pandas().astype({"symbol": "str"}).iloc[:0], OHLCV).num_rows == 0


def test_a_row_is_a_frame_of_one() -> None:
    row = {"symbol": "A", "event_time": NOON, "open": 1, "high": 2, "low": 1, "close": 1}
    assert coerce(table_of_row(row), OHLCV).num_rows == 1


def test_a_value_that_fits_no_column_is_refused_by_name() -> None:
    with pytest.raises(FrameError, match=r"'symbol'.*type object"):
        table_of_row({"symbol": object()})
