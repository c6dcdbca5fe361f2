"""The archive's tables on this machine: which layout reads fast, and how reads compare with plain Parquet and DuckDB.

Rows are minute bars around the clock. Each layout holds the same rows; every read is done several times in turn, and
its result counted. Nothing here needs Kafka.

    python -m benchmarks.archive layout [--symbols N] [--months N] [--rounds N]
    python -m benchmarks.archive reads [--rows N] [--rounds N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.goals import ARCHIVE_READ, at_most
from schemas.contract import load_contract
from streams.archive.layout import SYSTEM, Layout, Source
from streams.archive.maintenance import maintain
from streams.archive.reader import ArchiveReader, ArchiveSnapshot
from streams.archive.table import DatasetTable, Move
from streams.settings import Settings, load_settings

CONTRACT = load_contract("ohlcv")
MINUTE = 60_000_000_000
DAY = 1_440 * MINUTE
MONTH = 30 * DAY
START = 1_672_531_200_000_000_000  # 2023-01-01
SOURCE = Source("live.normalized.bars", 0)


@dataclass(frozen=True)
class Variant:
    """A layout to be measured: `order` is that of rows within a commit, None for the product's own."""

    name: str
    period: Any
    order: tuple[str, ...] | None = None
    z_order: bool = False


VARIANTS = (
    Variant("years, by symbol and time", "_year"),
    Variant("months, by symbol and time", "_month"),
    Variant("months, by time", "_month", ("event_time", "symbol")),
    Variant("months, Z-order", "_month", z_order=True),
    Variant("days, by symbol and time", "_day"),
)


def settings_in(folder: Path) -> Settings:
    datasets = {"bars": {"contract": "ohlcv", "interval": "1m", "partitions": 1}}
    return load_settings(None, {}, {"archive": {"url": str(folder)}, "datasets": datasets}, stack=lambda: None)


def bars(symbols: int, first: int, minutes: int, offset: int) -> pa.Table:
    """Return bars of all symbols for some minutes, as a decoder gives them, in the order of their times."""
    rows, chance = symbols * minutes, np.random.default_rng(first)
    price = np.round(100 + np.cumsum(chance.normal(0, 0.01, rows)), 2)
    names = np.array([f"SYM{n:03d}" for n in range(symbols)])
    columns: dict[str, Any] = {
        "symbol": np.tile(names, minutes),
        "event_time": np.repeat(START // 1_000 + (first + np.arange(minutes)) * 60_000_000, symbols),
        "open": price,
        "high": price + 0.05,
        "low": price - 0.05,
        "close": price + 0.01,
        "volume": np.round(chance.gamma(2, 500, rows)),
        "flags": np.zeros(rows, np.int64),
    }
    table = pa.table({n: pa.array(columns[n]) for n in CONTRACT.columns.names}, schema=CONTRACT.columns)
    system = (np.full(rows, 1), ["normalized"] * rows, np.zeros(rows), offset + np.arange(rows), np.ones(rows))
    for (name, kind), values in zip(SYSTEM.items(), system, strict=True):
        column = pa.array(values) if name == "_topic" else pa.array(np.asarray(values, np.int64)).cast(kind)
        table = table.append_column(pa.field(name, kind), column)
    return table


def fill(settings: Settings, variant: Variant, symbols: int, months: int) -> tuple[ArchiveSnapshot, float]:
    """Write the rows month by month, and merge what a month's commits left; return the table and the seconds."""
    layout, table = Layout(CONTRACT, variant.period), DatasetTable(settings, "bars")
    snapshot, offset, began = table.create(layout, 1), 0, time.perf_counter()
    for month in range(months):
        rows = bars(symbols, month * 30 * 1_440, 30 * 1_440, offset)
        stored = layout.stored(rows)
        if variant.order is not None:
            stored = stored.sort_by([(name, "ascending") for name in variant.order])
        snapshot.commit(stored, {SOURCE: Move(offset or None, offset + rows.num_rows)})
        offset += rows.num_rows
    if variant.z_order:
        snapshot.table.optimize.z_order(["symbol", "event_time"])
    elif variant.order is None:
        maintain(settings, table, thorough=True, tidy=False)
    found = ArchiveReader(settings).snapshot("bars")
    assert found is not None
    return found, time.perf_counter() - began


def timed(call: Callable[[], int], rounds: int) -> tuple[list[float], int]:
    """Return the milliseconds of each round, and how many rows there were."""
    taken, rows = [], 0
    for _ in range(rounds):
        began = time.perf_counter()
        rows = call()
        taken.append((time.perf_counter() - began) * 1_000)
    return taken, rows


def measure_layouts(options: argparse.Namespace, console: Console) -> None:
    """Show what each layout costs to write and to read."""
    months, symbols = options.months, options.symbols
    middle = START + (months // 2) * MONTH
    reads = {
        "a symbol's month": (["SYM007"], middle, middle + MONTH),
        "a symbol's day": (["SYM007"], middle, middle + DAY),
        "all symbols' day": (None, middle, middle + DAY),
        "five symbols, all": ([f"SYM{n:03d}" for n in range(5)], None, None),
    }
    table = Table(title=f"{symbols} symbols, {months} months of minute bars: milliseconds, median of {options.rounds}")
    for name in ("layout", "files", "MB", "written in s", *reads):
        table.add_column(name, justify="left" if name == "layout" else "right")
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            snapshot, seconds = fill(settings_in(Path(folder)), variant, symbols, months)
            cells = []
            for names, start, end in reads.values():
                read = partial(snapshot.read, names, start, end)
                taken, _ = timed(lambda read=read: read().frame.height, options.rounds)  # type: ignore[misc]
                cells.append(f"{median(taken):.1f}")
            size = int(snapshot.files["size_bytes"].sum()) / 1e6
            table.add_row(variant.name, str(snapshot.files.height), f"{size:.0f}", f"{seconds:.1f}", *cells)
    console.print(table)


def measure_reads(options: argparse.Namespace, console: Console) -> bool:
    """Compare reads with their peers; return whether the archive is as fast as it is wanted to be."""
    symbols = 20
    months = max(1, round(options.rows / (symbols * 30 * 1_440)))
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_in(Path(folder) / "archive")
        snapshot, seconds = fill(settings, Variant("", "_month"), symbols, months)
        total = int(snapshot.files["num_records"].sum())
        names = [f"SYM{n:03d}" for n in range(symbols)]
        end = START + 1_000_000 // symbols * MINUTE
        one = Path(folder) / "one.parquet"
        snapshot.read(names, START, end).frame.write_parquet(one)
        delta = snapshot_dataset(snapshot)

        def by_duckdb() -> int:
            query = "select * from t where event_time < make_timestamptz(?) order by event_time, symbol"
            return duckdb.connect().register("t", delta).execute(query, [end // 1_000]).to_arrow_table().num_rows

        rounds = {
            "archive": lambda: snapshot.read(names, START, end).frame.height,
            "polars, one Parquet file": lambda: pl.read_parquet(one).height,
            "DuckDB, the same table": by_duckdb,
        }
        taken: dict[str, list[float]] = {name: [] for name in rounds}
        for _ in range(options.rounds):
            for name, call in rounds.items():
                found, rows = timed(call, 1)
                assert rows == 1_000_000, (name, rows)
                taken[name] += found
        table = Table(title=f"1,000,000 rows of 20 symbols out of {total:,} (written in {seconds:.0f} s)")
        for name in ("read by", "best ms", "median ms", "/ polars", "wanted"):
            table.add_column(name, justify="left" if name == "read by" else "right")
        base = taken["polars, one Parquet file"]
        for name, found in taken.items():
            ratio = median(a / b for a, b in zip(found, base, strict=True))
            goal = at_most(ARCHIVE_READ if name == "archive" else None, ratio)
            table.add_row(name, f"{min(found):.0f}", f"{median(found):.0f}", f"{ratio:.2f}", goal)
        console.print(table)
        months_of = [(names[n % symbols], START + (n * 7 % months) * MONTH) for n in range(max(100, options.rounds))]
        each = [timed(lambda a=a: snapshot.read([a[0]], a[1], a[1] + MONTH).frame.height, 1)[0][0] for a in months_of]  # type: ignore[misc]
        p50, p99 = median(each), quantiles(each, n=100)[98]
        console.print(f"a symbol's month of {total:,} rows: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        ratio = median(a / b for a, b in zip(taken["archive"], base, strict=True))
        return ratio <= ARCHIVE_READ


def snapshot_dataset(snapshot: ArchiveSnapshot) -> Any:
    """Return the table as an Arrow dataset, by delta-rs."""
    from deltalake import DeltaTable

    return DeltaTable(snapshot.url).to_pyarrow_dataset()


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["layout", "reads"])
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--months", type=int, default=6)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options, console = parsed(arguments), Console()
    if options.what == "layout":
        measure_layouts(options, console)
        return 0
    return 0 if measure_reads(options, console) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
