"""How many rows a second conformance judges on this machine: in bulk, in small batches, and rule by rule.

Rows are sound bars of some symbols in rising minutes, as they come in ordinary times; the rules that look at the rows
before are also measured where one row in a hundred breaks them. Decoding and encoding are not measured. polars is held
to one thread, so the figures are those of one core; each is the median of several rounds, beside the best one, as
anything slower measures what else the machine did.

    python -m benchmarks.conformance [--rows N] [--symbols N] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # read once, when polars is imported

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.goals import BARS_PER_SECOND, at_least
from benchmarks.order_rules import stateful_rules
from schemas.conformance import ConformancePipeline, Part
from schemas.contract import load_contract
from schemas.grid import NANOS

BATCHES = (50_000, 5_000)
_MINUTE = 60
_START = 1_600_000_020


@dataclass(frozen=True)
class Measurement:
    """Rows per second of one thing, by the clock and by the processor time of this process; `wanted` of the median."""

    what: str
    rows_per_second: float
    best_rows_per_second: float
    rows_per_cpu_second: float
    wanted: float | None = None


def measure(what: str, rows: int, rounds: int, work: Callable[[], object], wanted: float | None = None) -> Measurement:
    """Do the work several times and take the median and the best round."""
    wall, cpu = [], []
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - clock)
        cpu.append(time.process_time() - processor)
    return Measurement(what, rows / median(wall), rows / min(wall), rows / max(median(cpu), 1e-9), wanted)


def bars(pipeline: ConformancePipeline, rows: int, symbols: int) -> pa.RecordBatch:
    """Return sound bars as plain contract columns, the symbols taking turns."""
    random = np.random.default_rng(0)
    opens = random.random(rows) * 10 + 100
    columns = {
        "symbol": pa.array([f"SYM{i % symbols:04d}" for i in range(rows)]),
        "event_time": pa.array((_START + np.arange(rows) // symbols * _MINUTE) * 1_000_000),
        "open": pa.array(opens),
        "high": pa.array(opens + 1),
        "low": pa.array(opens - 1),
        "close": pa.array(opens + 0.5),
        "volume": pa.array(opens),
        "flags": pa.array(np.zeros(rows, np.int64)),
    }
    schema = pipeline.contract.columns
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def run(rows: int, symbols: int, rounds: int) -> list[Measurement]:
    """Measure the pipeline in batches of several sizes, then each rule alone over all rows."""
    contract = load_contract("ohlcv")
    pipeline = ConformancePipeline(contract, "blocking", interval_ns=_MINUTE * NANOS)
    batch = bars(pipeline, rows, symbols)

    def judge(size: int) -> None:
        states = pipeline.new_states()
        for start in range(0, rows, size):
            result = pipeline.run([Part(batch.slice(start, size), contract.record)], states)
            states.apply(result.delta)
            assert not result.report.findings

    bulk = f"pipeline, one batch of {rows:,}"
    found = [measure(bulk, rows, rounds, lambda: judge(rows), BARS_PER_SECOND[None])]
    found += [
        measure(f"pipeline, batches of {size:,}", rows, rounds, partial(judge, size), BARS_PER_SECOND.get(size))
        for size in BATCHES
    ]
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    found += [
        measure(f"rule {name}", rows, rounds, partial(pipeline.rules.only(name).check, columns))
        for name in pipeline.rules.names()
    ]
    return found + [
        measure(f"order, {name}", rows, rounds, work) for name, work in stateful_rules(contract, batch, symbols)
    ]


def main() -> None:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="bars to judge (1,000,000)")
    parser.add_argument("--symbols", type=int, default=20, help="symbols that take turns (20)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    found = run(arguments.rows, arguments.symbols, arguments.rounds)
    if arguments.json:
        print(json.dumps([asdict(m) for m in found], indent=2))
        return
    table = Table(title=f"Conformance of bars, {arguments.symbols} symbols, one thread", title_justify="left")
    table.add_column("what")
    for heading in ("rows/s", "wanted", "best round", "rows per CPU second"):
        table.add_column(heading, justify="right")
    for m in found:
        rates = (m.rows_per_second, m.best_rows_per_second, m.rows_per_cpu_second)
        middle, best, cpu = (f"{rate:,.0f}" for rate in rates)
        table.add_row(m.what, middle, at_least(m.wanted, m.rows_per_second), best, cpu)
    (Console() if sys.stdout.isatty() else Console(width=120)).print(table)


if __name__ == "__main__":
    main()
