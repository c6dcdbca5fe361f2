"""A strategy on one series: two moving averages of closes, over history first and then over what comes.

    python examples/moving_average.py --dataset ohlcv.us.1d --symbol AAPL --start 2000-01-01 --position kept.json

It keeps its position, so it may be ended and started at any time: each bar is counted once.
"""

from __future__ import annotations

import argparse
from collections import deque
from pathlib import Path

from streams import Provider, load_settings


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config", type=Path, help="the settings file; found as the command `seamless` finds it")
    options.add_argument("--dataset", required=True)
    options.add_argument("--symbol", required=True)
    options.add_argument("--start", help="where history begins; its first row if not given")
    options.add_argument("--fast", type=int, default=20)
    options.add_argument("--slow", type=int, default=50)
    options.add_argument("--position", type=Path, help="file in which the position is kept")
    options.add_argument("--sla", help="name of the preset of promises; that of the settings if not given")
    options.add_argument("--timeout", type=float, help="seconds without a bar after which to end")
    chosen = options.parse_args()

    kept = chosen.position.read_text("utf-8") if chosen.position and chosen.position.exists() else None
    closes: deque[float] = deque(maxlen=chosen.slow)
    above: bool | None = None
    bars = 0
    with (
        Provider(load_settings(chosen.config), consumer="moving-average") as provider,
        provider.stream(
            chosen.dataset, [chosen.symbol], chosen.start, sla=chosen.sla, position=kept, timeout=chosen.timeout
        ) as stream,
    ):
        for bar in stream.rows():
            bars += 1
            closes.append(bar["close"])
            if len(closes) == chosen.slow:
                fast, slow = sum(list(closes)[-chosen.fast :]) / chosen.fast, sum(closes) / chosen.slow
                if above is not None and above != (fast > slow):
                    print(f"{bar['event_time']:%Y-%m-%d %H:%M} {chosen.symbol} {'buy' if fast > slow else 'sell'}")
                above = fast > slow
            if chosen.position and bars % 100 == 0:
                chosen.position.write_text(str(stream.position), "utf-8")
        if chosen.position:
            chosen.position.write_text(str(stream.position), "utf-8")
    print(f"{bars} bars")


if __name__ == "__main__":
    main()
