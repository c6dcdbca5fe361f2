"""A governed producer: bars of a random walk, checked against the contract before any is sent.

    python examples/produce_bars.py --dataset ohlcv.us.1m --symbol AAPL --bars 100

A bar that breaks the contract is refused with the rule that it breaks; nothing of its batch is sent.
"""

from __future__ import annotations

import argparse
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from streams import GovernedProducer, ProduceRefused, load_settings


def walk(symbol: str, first: datetime, step: timedelta, bars: int, seed: int) -> pl.DataFrame:
    """Return generated bars in the columns of the contract `ohlcv`."""
    chance, close, rows = random.Random(seed), 100.0, []
    for number in range(bars):
        opened, close = close, round(close * (1 + chance.gauss(0, 0.001)), 2)
        low, high = round(min(opened, close) * 0.999, 2), round(max(opened, close) * 1.001, 2)
        at = first + number * step
        prices = {"open": opened, "high": high, "low": low, "close": close}
        rows.append({"symbol": symbol, "event_time": at, **prices, "volume": float(chance.randint(100, 9_999))})
    return pl.DataFrame(rows)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config", type=Path, help="the settings file; found as the command `seamless` finds it")
    options.add_argument("--dataset", required=True)
    options.add_argument("--symbol", required=True)
    options.add_argument("--bars", type=int, default=100)
    options.add_argument(
        "--first", type=datetime.fromisoformat, help="start of the first bar, UTC; by default so that the last ends now"
    )
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()

    settings = load_settings(chosen.config)
    step = timedelta(microseconds=(settings.dataset(chosen.dataset).interval_ns() or 10**9) // 1_000)
    now = datetime.now(UTC)
    first = chosen.first or now - (now - datetime(1970, 1, 1, tzinfo=UTC)) % step - chosen.bars * step
    with GovernedProducer(chosen.dataset, settings) as producer:
        producer.send(walk(chosen.symbol, first.replace(tzinfo=UTC), step, chosen.bars, chosen.seed))
        producer.flush()
        print(f"{chosen.bars} bars sent")
        broken = walk(chosen.symbol, first.replace(tzinfo=UTC), step, 1, chosen.seed).with_columns(high=pl.lit(0.0))
        try:
            producer.send(broken)
        except ProduceRefused as refusal:
            print(f"refused, as it should be: {refusal}")


if __name__ == "__main__":
    main()
