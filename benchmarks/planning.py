"""How long it takes to plan a backfill: 10,000 and 29,000 shards, in ordinary cases and in one made to be hard.

Minute bars of New York over years, for some hundreds of symbols: all of it missing; and with a hole in each symbol at
every few days, so that no two symbols miss the same and every hole is a shard of its own. Calendars are loaded before
the clock starts, which a process does once; that is a line of its own. Each figure is the best of several rounds.

    python -m benchmarks.planning [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from rich.console import Console
from rich.table import Table

from benchmarks.goals import PLANNED_10_000_SECONDS, at_most
from coordinator.plan import BackfillPlan, plan
from coordinator.ranges import Range
from schemas.grid import DAY, NANOS, make_grid

MINUTE, HOUR = 60 * NANOS, 3_600 * NANOS
CALENDAR = "XNYS"
NOW = 1_750_000_000 * NANOS
END = NOW // DAY * DAY
TARGETS = (10_000, 29_000)
_SYMBOLS = 500
_YEARS = 10
_BARS_A_DAY = 390
_SESSIONS_A_YEAR = 252
_OPEN_MONDAYS = 47


@dataclass(frozen=True)
class Measurement:
    """Seconds to plan so many shards."""

    what: str
    shards: int
    seconds: float


def missing_all(shards: int) -> BackfillPlan:
    """Plan ten years of minutes of 500 symbols, in as many shards."""
    bars = _SYMBOLS * _YEARS * _SESSIONS_A_YEAR * _BARS_A_DAY
    symbols = [f"SYM{i:04d}" for i in range(_SYMBOLS)]
    return planned(symbols, Range(END - _YEARS * 365 * DAY, END), {}, bars // shards)


def holed(shards: int) -> tuple[list[str], Range, dict[str, tuple[Range, ...]]]:
    """Return a request whose symbols are covered but for an hour each week, at another minute for each of them."""
    weeks = 52 * _YEARS
    symbols = [f"SYM{i:04d}" for i in range(-(-shards // (_OPEN_MONDAYS * _YEARS)))]
    start = END - weeks * 7 * DAY
    start -= (start // DAY - 4) % 7 * DAY  # a Monday
    coverage = {
        symbol: tuple(
            Range(hole + HOUR, hole + 7 * DAY)
            for hole in range(start + 15 * HOUR + i * MINUTE, start + weeks * 7 * DAY, 7 * DAY)
        )
        for i, symbol in enumerate(symbols)
    }
    return symbols, Range(start + 20 * HOUR, start + weeks * 7 * DAY), coverage


def planned(
    symbols: Sequence[str], range_: Range, coverage: Mapping[str, Sequence[Range]], target_rows: int
) -> BackfillPlan:
    """Plan minute bars."""
    return plan(
        "bars",
        symbols,
        range_,
        coverage,
        "files:bars",
        None,
        target_rows,
        interval_ns=MINUTE,
        calendar=CALENDAR,
        contract_version=1,
        partitions=32,
        now_ns=NOW,
    )


def run(rounds: int) -> list[Measurement]:
    """Measure."""
    clock = time.perf_counter()
    make_grid(MINUTE, CALENDAR).expected(END - _YEARS * 365 * DAY, END)
    found = [Measurement("load the calendar, once a process", 0, time.perf_counter() - clock)]
    for shards in TARGETS:
        symbols, range_, coverage = holed(shards)
        for what, work in (
            ("all missing", partial(missing_all, shards)),
            ("a hole a week in each symbol", partial(planned, symbols, range_, coverage, 50_000)),
        ):
            seconds = []
            for _ in range(rounds):
                clock = time.perf_counter()
                made = work()
                seconds.append(time.perf_counter() - clock)
            found.append(Measurement(what, len(made.shards), min(seconds)))
    return found


def main() -> None:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts (3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    found = run(arguments.rounds)
    if arguments.json:
        print(json.dumps([asdict(m) for m in found], indent=2))
        return
    table = Table(title=f"Planning minute bars of {CALENDAR}, {_YEARS} years, one thread", title_justify="left")
    table.add_column("what")
    table.add_column("shards", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("wanted", justify="right")
    for m in found:
        # Planning grows with the shards, and no case has exactly ten thousand.
        wanted = PLANNED_10_000_SECONDS * m.shards / 10_000
        table.add_row(
            m.what, f"{m.shards:,}", f"{m.seconds:.3f}", at_most(round(wanted, 2), m.seconds) if m.shards else ""
        )
    Console().print(table)


if __name__ == "__main__":
    main()
