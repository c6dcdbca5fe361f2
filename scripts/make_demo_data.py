"""Make the demo's market data from the installed package bokeh_sampledata; nothing is downloaded here.

Run it in an environment of its own, as the project itself needs neither package in this version:

    python -m venv build/demo-data
    build/demo-data/bin/pip install bokeh_sampledata==2026.1 pyarrow==26.0.1
    build/demo-data/bin/python scripts/make_demo_data.py
"""

from __future__ import annotations

import argparse
import hashlib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
FOLDER = Path(__file__).resolve().parent.parent / "streams" / "demo" / "data"
DATA, ORIGIN = "ohlcv_us_1d.parquet", "ORIGIN.md"


def vendor_table(stocks: Any) -> pa.Table:
    """Return all bars by day and then by symbol, in the columns of `vendor_daily.avsc`: prices are text."""
    rows = [
        {
            "Ticker": symbol,
            "Date": bars["date"][i],
            "Open": str(bars["open"][i]),
            "High": str(bars["high"][i]),
            "Low": str(bars["low"][i]),
            "Close": str(bars["close"][i]),
            "Volume": bars["volume"][i],
        }
        for symbol in SYMBOLS
        for bars in (getattr(stocks, symbol),)
        for i in range(len(bars["date"]))
    ]
    rows.sort(key=lambda row: (row["Date"], row["Ticker"]))
    return pa.Table.from_pylist(rows)


def origin(table: pa.Table, digest: str) -> str:
    """Return the text of ORIGIN.md."""
    lines = [
        "# Where the demo's market data comes from",
        "",
        f"`{DATA}`: daily open, high, low, close and volume of five US stocks, unadjusted for splits and dividends,",
        "in the columns of `vendor_daily.avsc`.",
        "",
        "| symbol | bars | first day | last day |",
        "|---|---|---|---|",
    ]
    for symbol in SYMBOLS:
        dates = table.filter(pc.equal(table["Ticker"], symbol))["Date"].to_pylist()
        lines.append(f"| {symbol} | {len(dates):,} | {dates[0]} | {dates[-1]} |")
    lines += [
        f"| all | {table.num_rows:,} | | |",
        "",
        f"- Source: Quandl WIKI Prices, as the PyPI package `bokeh_sampledata` {version('bokeh_sampledata')} carries",
        "  it (`bokeh_sampledata.stocks`). GOOG is Google's history before 2014, which the source files under GOOGL.",
        "- Licence: public domain. Quandl declared the data public domain and permitted redistribution; the package",
        "  records this in its `datasets.json`.",
        f"- SHA-256: `{digest}`",
        f"- Made by `scripts/make_demo_data.py` with pyarrow {pa.__version__}, which says how to make it again; the",
        "  same versions make the same bytes.",
        "",
        "The values are as the source gives them, without any warranty. No bar is missing by the NYSE calendar, none",
        "is there twice, and none breaks the contract `ohlcv`: every fault that the demo shows is put in by",
        "`streams/demo/scenario.py`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the data and its origin."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write (default: the package)")
    folder: Path = parser.parse_args().folder
    table = vendor_table(import_module("bokeh_sampledata.stocks"))
    pq.write_table(table, folder / DATA, compression="zstd", compression_level=19, use_dictionary=["Ticker", "Date"])
    digest = hashlib.sha256((folder / DATA).read_bytes()).hexdigest()
    (folder / ORIGIN).write_text(origin(table, digest), encoding="utf-8")
    print(f"{table.num_rows:,} bars, {(folder / DATA).stat().st_size:,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
