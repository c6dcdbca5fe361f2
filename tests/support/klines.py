"""An exchange on the loopback that speaks Binance's public REST interface for candles, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Exchange", "candle", "serving"]

MINUTE_MS = 60_000
PAIRS = ("BTC", "ETH")


def candle(symbol: str, at: int) -> list[Any]:
    """Return the candle of a minute, as the exchange writes it."""
    price = 100.0 + at // MINUTE_MS % 1_000 + PAIRS.index(symbol.removesuffix("USDT"))
    shown = [f"{x:.8f}" for x in (price, price + 1, price - 1, price + 0.5, 10.0)]
    return [at, *shown, at + MINUTE_MS - 1, "1000.0", 7, "5.0", "500.0", "0"]


@dataclass
class Exchange:
    """What the exchange holds and how it behaves.

    Attributes:
        url: where it listens.
        first, end: candles exist from first to end, milliseconds since the epoch; end is not part of them.
        holes: times at which there is none.
        by_time: whether a page ends after a span of time, as some exchanges have it, and not after so many candles.
        faults: what becomes of the next requests for candles: `ok`, `busy`, `broken`, `cut`, `garbage`, `private`,
            `slow`.
        asked: the parameters of every request for candles.
        released: ends a slow answer.
    """

    url: str = ""
    first: int = 0
    end: int = 2**53
    holes: set[int] = field(default_factory=set)
    by_time: bool = False
    faults: deque[str] = field(default_factory=deque)
    asked: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def candles(self, symbol: str, start: int, limit: int) -> list[list[Any]]:
        """Return the first candles from a time on."""
        at = -(-max(start, self.first) // MINUTE_MS) * MINUTE_MS
        found: list[list[Any]] = []
        end = min(self.end, at + limit * MINUTE_MS) if self.by_time else self.end
        while at < end and len(found) < limit:
            if at not in self.holes:
                found.append(candle(symbol, at))
            at += MINUTE_MS
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.exchange = exchange


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.endswith("/exchangeInfo"):
            spot = parts.path.startswith("/api/")
            self._answer(200, {"timezone": "UTC", "symbols": [_market(p) for p in PAIRS] if spot else []})
        elif parts.path == "/api/v3/klines":
            self._klines(dict(parse_qsl(parts.query)))
        else:
            self._answer(404, {"code": -1, "msg": parts.path})

    def _klines(self, asked: dict[str, str]) -> None:
        exchange = self.server.exchange
        exchange.asked.append(asked)
        fault = exchange.faults.popleft() if exchange.faults else "ok"
        page = exchange.candles(asked["symbol"], int(asked["startTime"]), int(asked["limit"]))
        if fault == "slow":
            exchange.released.wait(30)
        status, body, headers = {
            "busy": (429, {"code": -1003, "msg": "Too many requests"}, {"Retry-After": "7"}),
            "broken": (503, {"msg": "away"}, {}),
            "private": (401, {"code": -2015, "msg": "Invalid API-key"}, {}),
            "garbage": (200, "<html>maintenance</html>", {}),
        }.get(fault, (200, page, {}))
        self._answer(status, body, headers, cut=fault == "cut")

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        told = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told[: len(told) // 2] if cut else told)
        if cut:
            self.close_connection = True


@contextmanager
def serving(**values: Any) -> Iterator[Exchange]:
    """Serve an exchange while the block runs; the arguments are its attributes."""
    exchange = Exchange(**values)
    server = _Server(exchange)
    exchange.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield exchange
    finally:
        exchange.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def _market(base: str) -> dict[str, Any]:
    return {
        "symbol": f"{base}USDT",
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [],
        "permissions": ["SPOT"],
    }
