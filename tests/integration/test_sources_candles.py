"""Candles through ccxt, from an exchange on the loopback: paged, resumable, and its failures told apart."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from coordinator.source import Source, SourceBatch, SourceContext, SourceError, open_source
from coordinator.sources import candles
from schemas.contract import load_contract
from streams.clock import now_ms
from streams.registry import Registry
from streams.settings import load_settings
from tests.support.klines import MINUTE_MS, Exchange, serving
from tests.support.progress import until

BEGIN = 1_700_000_040_000
BOTH = ("BTC/USDT", "ETH/USDT")


def context(contract: str = "ohlcv", interval: str | None = "1m") -> SourceContext:
    settings = load_settings(
        env={},
        overrides={
            "world": "paper",
            "kafka": {"bootstrap_servers": "localhost:1"},
            "registry": {"url": "http://localhost:1"},
            "datasets": {"bars": {"contract": contract, "interval": interval}},
        },
    )
    return SourceContext(settings, "bars", settings.dataset("bars"), load_contract(contract), cast("Registry", None))


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with serving(first=BEGIN) as exchange:
        yield exchange


def source_of(exchange: Exchange, **parameters: Any) -> Source:
    query = "".join(f"&{name}={value}" for name, value in parameters.items())
    return open_source(f"ccxt:binance?url={exchange.url}{query}", context())


def fetch(source: Source, minutes: int, *symbols: str, cursor: str | None = None) -> list[SourceBatch]:
    span = BEGIN * 10**6, (BEGIN + minutes * MINUTE_MS) * 10**6
    return list(source.fetch(symbols or ("BTC/USDT",), *span, cursor))


def places(batches: list[SourceBatch]) -> list[tuple[str, int]]:
    """Return (symbol, minute) of each row."""
    rows = [row for batch in batches for row in batch.rows.to_pylist()]
    return [(r["symbol"], (int(r["event_time"].timestamp() * 1_000) - BEGIN) // MINUTE_MS) for r in rows]


def test_candles_come_symbol_by_symbol_in_pages_up_to_the_end(exchange: Exchange) -> None:
    batches = fetch(source_of(exchange, limit=100), 250, *BOTH)
    assert [b.rows.num_rows for b in batches] == [100, 100, 50] * 2
    assert places(batches) == [(s, m) for s in BOTH for m in range(250)]
    assert batches[0].rows.slice(0, 1).to_pylist()[0] | {"event_time": None} == {
        "symbol": "BTC/USDT",
        "event_time": None,
        "open": (price := 100.0 + BEGIN // MINUTE_MS % 1_000),
        "high": price + 1,
        "low": price - 1,
        "close": price + 0.5,
        "volume": 10.0,
    }
    assert [a["interval"] for a in exchange.asked] == ["1m"] * 6


def test_every_cursor_goes_on_with_exactly_the_candles_that_are_left(exchange: Exchange) -> None:
    batches = fetch(source_of(exchange, limit=40), 100, *BOTH)
    for place, batch in enumerate(batches):
        rest = fetch(source_of(exchange, limit=40), 100, *BOTH, cursor=batch.cursor)
        assert [b.rows for b in rest] == [b.rows for b in batches[place + 1 :]]


@pytest.mark.parametrize("by_time", [False, True])
def test_a_hole_longer_than_a_page_ends_nothing(exchange: Exchange, by_time: bool) -> None:
    exchange.by_time = by_time
    exchange.holes = {BEGIN + m * MINUTE_MS for m in range(20, 75)}
    batches = fetch(source_of(exchange, limit=10), 100)
    assert [m for _, m in places(batches)] == [*range(20), *range(75, 100)]


def test_the_candle_of_this_minute_is_not_finished_and_not_given(exchange: Exchange) -> None:
    source = source_of(exchange)
    before = now_ms()
    begin = before // MINUTE_MS * MINUTE_MS - 5 * MINUTE_MS
    batches = list(source.fetch(("BTC/USDT",), begin * 10**6, (before + 10 * MINUTE_MS) * 10**6, None))
    newest = max(row["event_time"] for batch in batches for row in batch.rows.to_pylist())
    assert before - 2 * MINUTE_MS < newest.timestamp() * 1_000 <= now_ms() - MINUTE_MS


def test_a_busy_exchange_says_how_long_to_leave_it_alone(exchange: Exchange) -> None:
    exchange.faults.append("busy")
    with pytest.raises(SourceError, match="Too many") as caught:
        fetch(source_of(exchange), 10)
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 7.0)


@pytest.mark.parametrize("fault", ["broken", "cut", "garbage"])
def test_an_exchange_that_fails_may_be_asked_again(exchange: Exchange, fault: str) -> None:
    source = source_of(exchange, limit=10)
    exchange.faults.extend(["ok", fault])
    span = BEGIN * 10**6, (BEGIN + 20 * MINUTE_MS) * 10**6
    batches = source.fetch(("BTC/USDT",), *span, None)
    first = next(batches)
    with pytest.raises(SourceError) as caught:
        next(batches)
    assert caught.value.retryable
    rest = source.fetch(("BTC/USDT",), *span, first.cursor)
    assert [m for _, m in places([first, *rest])] == list(range(20))


def test_an_answer_that_takes_its_time_is_waited_for(exchange: Exchange) -> None:
    exchange.faults.append("slow")
    source, found = source_of(exchange), list[SourceBatch]()
    thread = threading.Thread(target=lambda: found.extend(fetch(source, 10)))
    thread.start()
    until(lambda: len(exchange.asked) == 1, 30, "the request")
    assert not found
    exchange.released.set()
    thread.join(30)
    assert [m for _, m in places(found)] == list(range(10))


def test_an_answer_that_takes_longer_than_the_timeout_may_be_asked_for_again(exchange: Exchange) -> None:
    exchange.faults.append("slow")
    with pytest.raises(SourceError, match="RequestTimeout") as caught:
        fetch(source_of(exchange, timeout=0.3), 10)
    assert caught.value.retryable


def test_a_symbol_that_the_exchange_has_not_is_refused_for_good(exchange: Exchange) -> None:
    with pytest.raises(SourceError, match="unified symbols") as caught:
        fetch(source_of(exchange), 10, "BTCUSDT-OLD")
    assert not caught.value.retryable


def test_candles_that_are_not_public_are_refused_for_good(exchange: Exchange) -> None:
    exchange.faults.append("private")
    with pytest.raises(SourceError, match="not public") as caught:
        fetch(source_of(exchange), 10)
    assert not caught.value.retryable


def test_slots_of_one_process_share_the_client_whose_rate_limiter_counts(exchange: Exchange) -> None:
    one, other = source_of(exchange), source_of(exchange)
    assert cast("Any", one)._client is cast("Any", other)._client
    assert cast("Any", one)._client.api.enableRateLimit


def test_the_estimate_counts_candles_of_all_symbols(exchange: Exchange) -> None:
    span = BEGIN * 10**6, (BEGIN + 250 * MINUTE_MS) * 10**6
    assert source_of(exchange).estimate(BOTH, *span) == 500


@pytest.mark.parametrize(
    ("specification", "reason"),
    [
        ("ccxt:nowhere", "knows no such exchange"),
        ("ccxt:binance?speed=9", "'speed' is unknown"),
        ("ccxt:binance?limit=5000", "limit is 1 to 1000"),
        ("ccxt:binance?limit=many", "are numbers"),
        ("ccxt:binance?url=localhost", "is no address"),
    ],
)
def test_a_specification_that_makes_no_sense_is_refused(specification: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(specification, context())
    assert not caught.value.retryable


def test_datasets_that_candles_do_not_fit_are_refused() -> None:
    with pytest.raises(SourceError, match=r"set datasets\.bars\.interval"):
        open_source("ccxt:binance", context(interval=None))
    with pytest.raises(SourceError, match="no open"):
        open_source("ccxt:binance", context(contract="trade"))
    with pytest.raises(SourceError, match="no candles of 20m"):
        open_source("ccxt:binance", context(interval="20m"))


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    candles._client.cache_clear()
    with pytest.raises(SourceError, match=r"pip install seamless-data\[ccxt\]"):
        open_source("ccxt:binance", context())
