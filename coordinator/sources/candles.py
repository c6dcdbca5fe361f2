"""Candles of an exchange as a source of history: REST, through the ccxt package, within the exchange's rate limits."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa

from coordinator.source import Source, SourceBatch, SourceContext, SourceError
from schemas.contract import Contract
from streams.clock import now_ms
from streams.durations import duration_ns

__all__ = ["CandleSource", "Wanted", "open_candles"]

_MOST = 1_000  # candles in a page; what exchanges commonly allow at most
_TIMEOUT_SECONDS = 10.0
_COLUMNS = ("open", "high", "low", "close", "volume")
_MS = 10**6


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a specification asks for: `EXCHANGE[?url=BASE&limit=CANDLES&timeout=SECONDS]`.

    Attributes:
        url: stands in for scheme and host of the exchange's addresses, as for a proxy; None for the exchange itself.
        limit: candles in a page, at most 1,000.
        timeout_s: longest wait for one answer.
    """

    exchange: str
    url: str | None = None
    limit: int = _MOST
    timeout_s: float = _TIMEOUT_SECONDS

    @classmethod
    def parse(cls, rest: str) -> Wanted:
        """Read a specification.

        Raises:
            SourceError: naming the parameter that makes no sense.
        """
        exchange, _, query = rest.partition("?")
        values = dict(parse_qsl(query, keep_blank_values=True))
        unknown = sorted(values.keys() - {"url", "limit", "timeout"})
        if unknown:
            raise _refusal(rest, f"the parameter {unknown[0]!r} is unknown: there are url, limit and timeout")
        url = values.get("url")
        if url is not None and not re.fullmatch(r"https?://[^/]+/?", url):
            raise _refusal(rest, f"url={url} is no address: write scheme and host, as in http://localhost:8080")
        try:
            limit, timeout_s = int(values.get("limit", _MOST)), float(values.get("timeout", _TIMEOUT_SECONDS))
        except ValueError:
            raise _refusal(rest, "limit and timeout are numbers") from None
        if not (1 <= limit <= _MOST and 0 < timeout_s <= 300):
            raise _refusal(rest, f"limit is 1 to {_MOST} candles, and timeout at most 300 seconds")
        return cls(exchange, url and url.rstrip("/"), limit, timeout_s)


def open_candles(rest: str, context: SourceContext) -> Source:
    """Return the source of `ccxt:EXCHANGE[?...]`; see `Wanted`.

    Raises:
        SourceError: not retryable, if ccxt is missing, or does not know the exchange or the dataset's interval.
    """
    wanted, interval = Wanted.parse(rest), context.wanted.interval
    if interval is None:
        raise _refusal(
            rest, f"candles have an interval, and the dataset has none: set datasets.{context.dataset}.interval"
        )
    missing = [name for name in _COLUMNS if name not in context.contract.record.fields]
    if missing:
        raise _refusal(rest, f"the contract {context.contract.name} has no {missing[0]}: candles are no rows of it")
    client = _client(wanted)
    frames = client.api.timeframes or {}
    if interval not in frames:
        raise _refusal(rest, f"it has no candles of {interval}, the dataset's interval, but {', '.join(frames)}")
    return CandleSource(client, wanted, context.contract, interval)


class CandleSource:
    """Gives candles symbol by symbol, each oldest first, page by page.

    The cursor is the symbol that is read and the time from which on. A candle that is not finished yet is not given.
    Symbols are ccxt's unified ones, such as BTC/USDT.
    """

    def __init__(self, client: _Client, wanted: Wanted, contract: Contract, interval: str) -> None:
        self._client, self._wanted, self._interval = client, wanted, interval
        self._interval_ms = duration_ns(interval) // _MS
        self._names = (contract.key, contract.event_time)

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        """Return how many candles there are if none is missing."""
        return len(symbols) * max(0, -(-(end - start) // (self._interval_ms * _MS)))

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        """Yield the candles; see `coordinator.source.Source`.

        Raises:
            SourceError: retryable if the exchange is away, busy or answers nonsense; else if it refuses.
        """
        wanted = sorted(symbols)
        first, last = -(-start // _MS), -(-end // _MS)
        place, since = self._place(cursor, first)
        for index in range(place, len(wanted)):
            while since < last:
                page = self._page(wanted[index], since, last)
                # A page without candles may lie in a hole: some exchanges answer by time and not by count.
                since = (page[-1][0] if page else since + (self._wanted.limit - 1) * self._interval_ms) + 1
                if page:
                    since += self._interval_ms - 1
                    yield SourceBatch(self._rows(wanted[index], page), _cursor(index, since))
            since = first

    def close(self) -> None:
        """Nothing is let go of: the client is shared, as its rate limiter counts the requests of all slots."""

    def _place(self, cursor: str | None, first: int) -> tuple[int, int]:
        if cursor is None:
            return 0, first
        try:
            found = json.loads(cursor)
            return int(found["symbol"]), int(found["since"])
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"ccxt:{self._wanted.exchange}: {cursor!r} is no cursor of it", retryable=False
            ) from error

    def _page(self, symbol: str, since: int, end: int) -> list[list[Any]]:
        """Return the finished candles of a page, oldest first, all with since <= time < end."""
        page = self._client.candles(symbol, self._interval, since, self._wanted.limit)
        finished = min(end, now_ms() - self._interval_ms + 1)
        found = sorted((row for row in page if since <= row[0] < finished), key=itemgetter(0))
        if any(len(row) != 1 + len(_COLUMNS) for row in found):
            raise SourceError(f"ccxt:{self._wanted.exchange}: {symbol}: the answer holds no candles: {str(found)[:80]}")
        return found

    def _rows(self, symbol: str, page: list[list[Any]]) -> pa.RecordBatch:
        times, *values = zip(*page, strict=True)
        arrays = [
            pa.array([symbol] * len(page)),
            pa.array(times, pa.timestamp("ms", "UTC")),
            *(pa.array(column, pa.float64()) for column in values),
        ]
        return pa.RecordBatch.from_arrays(arrays, [*self._names, *_COLUMNS])


class _Client:
    """ccxt's client of one exchange, for one thread at a time, with its errors made ours."""

    def __init__(self, ccxt: Any, wanted: Wanted) -> None:
        self._ccxt, self._name, self._lock = ccxt, wanted.exchange, Lock()
        self.api = getattr(ccxt, wanted.exchange)(
            {
                "enableRateLimit": True,
                "enableLastJsonResponse": True,
                "enableLastResponseHeaders": True,
                "timeout": int(wanted.timeout_s * 1_000),
            }
        )
        if wanted.url is not None:
            self.api.urls["api"] = _redirected(self.api.urls["api"], wanted.url)

    def candles(self, symbol: str, interval: str, since: int, limit: int) -> list[list[Any]]:
        with self._lock:
            try:
                page: list[list[Any]] = self.api.fetch_ohlcv(symbol, interval, since=since, limit=limit)
            except self._ccxt.BaseError as error:
                raise self._mapped(symbol, error) from error
            except Exception as error:
                # Of an answer that was cut off, ccxt's parsers say what Python says.
                raise SourceError(f"ccxt:{self._name}: {symbol}: the answer cannot be read: {error!r}") from error
            # Where a page of maintenance comes instead of candles, ccxt finds none in it and says nothing.
            if self.api.last_json_response is None:
                raise SourceError(f"ccxt:{self._name}: {symbol}: the answer is no JSON")
        return page

    def _mapped(self, symbol: str, error: Exception) -> SourceError:
        ccxt = self._ccxt
        what = f"ccxt:{self._name}: {symbol}: {type(error).__name__}: {str(error)[:300]}"
        if isinstance(error, ccxt.BadSymbol):
            return SourceError(f"{what}. Use ccxt's unified symbols, such as BTC/USDT.", retryable=False)
        if isinstance(error, ccxt.AuthenticationError):
            return SourceError(f"{what}. Its candles are not public.", retryable=False)
        if isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded):
            return SourceError(what, retry_after_s=self._retry_after())
        cut_off = error.__cause__ is not None and not isinstance(error, ccxt.BadRequest | ccxt.NotSupported)
        return SourceError(what, retryable=isinstance(error, ccxt.OperationFailed) or cut_off)

    def _retry_after(self) -> float | None:
        headers = {k.lower(): v for k, v in (self.api.last_response_headers or {}).items()}
        try:
            return max(0.0, float(headers["retry-after"]))
        except (KeyError, ValueError):
            return None


@cache
def _client(wanted: Wanted) -> _Client:
    """Return the client of an exchange: one in a process, as the rate limiter counts what went through it."""
    try:
        ccxt = importlib.import_module("ccxt")
    except ImportError as error:
        raise _refusal(wanted.exchange, "the package ccxt is missing: pip install seamless-data[ccxt]") from error
    if wanted.exchange not in ccxt.exchanges:
        raise _refusal(wanted.exchange, "ccxt knows no such exchange: see its list, for instance binance or kraken")
    return _Client(ccxt, wanted)


def _redirected(urls: Any, base: str) -> Any:
    """Return addresses with another scheme and host."""
    if isinstance(urls, dict):
        return {name: _redirected(url, base) for name, url in urls.items()}
    return re.sub(r"^[a-z]+://[^/]+", base, urls) if isinstance(urls, str) else urls


def _cursor(symbol: int, since: int) -> str:
    return json.dumps({"symbol": symbol, "since": since}, separators=(",", ":"))


def _refusal(rest: str, why: str) -> SourceError:
    return SourceError(f"ccxt:{rest}: {why}", retryable=False)
