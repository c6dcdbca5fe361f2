"""Generated bars with every kind of fault, as raw records; the same seed gives the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.contract import load_contract

__all__ = ["RawRecord", "faulty_bars", "good_bar"]

RawRecord = tuple[int, bytes | None, bytes | None]

MINUTE = 60_000_000
START = 1_700_000_040_000_000


def good_bar(symbol: str, minute: int, price: float = 100.0, **changes: Any) -> dict[str, Any]:
    """Return a bar that breaks no rule; `changes` replace fields."""
    bar = {
        "symbol": symbol,
        "event_time": START + minute * MINUTE,
        "open": price,
        "high": price + 1,
        "low": price - 1,
        "close": price + 0.5,
        "volume": 10.0,
        "flags": 0,
    }
    return bar | changes


def faulty_bars(
    count: int, schema_id: int, seed: int, *, partitions: int = 4, symbols: int = 20
) -> Iterator[RawRecord]:
    """Yield raw records: mostly good bars; some repeated, revised, late, missing, broken or no Avro at all."""
    chance = random.Random(seed)
    codec = ReferenceCodec(parse_record(load_contract("ohlcv").schema), schema_id)
    minutes = [0] * symbols
    for _ in range(count):
        which = chance.randrange(symbols)
        symbol, partition = f"SYM{which:02d}", which % partitions
        minutes[which] += 1
        bar = good_bar(symbol, minutes[which], price=100 + chance.random())
        fault = chance.random()
        if fault < 0.01:
            minutes[which] += chance.randint(1, 3)  # bars are missing before the next one
        elif fault < 0.02:
            bar |= {"close": float("nan")}
        elif fault < 0.03:
            bar |= {"high": bar["low"] - 1}
        elif fault < 0.04:
            bar |= {"event_time": START + max(0, minutes[which] - chance.randint(1, 90)) * MINUTE}  # late, or revised
        payload = codec.encode_one(bar)
        if 0.04 <= fault < 0.05:
            payload = chance.randbytes(chance.randint(0, 70))
        yield partition, symbol.encode(), payload
        if 0.05 <= fault < 0.06:
            yield partition, symbol.encode(), payload  # sent twice
