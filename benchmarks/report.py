"""The result as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path

import psutil
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from benchmarks.goals import AT_LEAST, at_least
from benchmarks.jobs import JOBS, PRODUCT, REFERENCE
from benchmarks.peers import Options, Outcome
from benchmarks.summary import Line, summarise

__all__ = ["print_report", "write_json"]

_SHORTEST_SECONDS = 0.5

_METHOD = (
    "Every output was read back and compared with its input, byte by byte. Rates come from the broker's "
    "append times in steady state: a warm-up before and a tail after the measured records do not count. "
    "Ratios are medians of the rounds' own; pass-through copies bytes unchanged, without transactions."
)


def print_report(outcome: Outcome, options: Options, console: Console) -> None:
    """Print the table, then what was skipped or failed."""
    table = Table(title=f"consume, decode, check, encode, produce: medians of {options.runs} interleaved runs")
    table.add_column("job")
    table.add_column("guarantee")
    for heading in (
        "records",
        "records/s",
        f"/ {JOBS[REFERENCE].title}",
        f"{JOBS[PRODUCT].title} / it",
        "wanted",
        "CPU µs",
        "RSS MB",
    ):
        table.add_column(heading, justify="right")
    for line in summarise(outcome.rounds, REFERENCE, PRODUCT):
        table.add_row(*_cells(line))
    notes = [
        _METHOD,
        *_short(outcome),
        *(f"{JOBS[name].title} was skipped: {reason}." for name, reason in outcome.skipped.items()),
        *(f"FAILED {reason}." for reason in outcome.failed.values()),
    ]
    console.print(Group(table, *(Text(note) for note in notes)))


def write_json(outcome: Outcome, options: Options, path: Path) -> None:
    """Write the medians, every single measurement and the circumstances."""
    document = {
        "machine": {
            "cores": psutil.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "runs": options.runs,
        "records": options.records,
        "warm_up": options.warm_up,
        "reference": REFERENCE,
        "product": PRODUCT,
        "wanted": AT_LEAST,
        "summary": [asdict(line) for line in summarise(outcome.rounds, REFERENCE, PRODUCT)],
        "rounds": [{name: asdict(run) for name, run in passed.items()} for passed in outcome.rounds],
        "skipped": outcome.skipped,
        "failed": outcome.failed,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _cells(line: Line) -> list[str]:
    job = JOBS[line.job]
    return [
        job.title,
        job.guarantee,
        f"{line.records:,}",
        f"{line.records_per_second:,.0f}",
        _ratio(line.against_reference),
        _ratio(line.product_against),
        at_least(AT_LEAST.get(line.job), line.product_against),
        f"{line.cpu_us_per_record:.2f}",
        f"{line.peak_megabytes:,.0f}",
    ]


def _short(outcome: Outcome) -> list[str]:
    """Return a warning if a window was so short that a single batch weighs heavily in it."""
    runs = [run for passed in outcome.rounds for run in passed.values()]
    short = dict.fromkeys(JOBS[run.job].title for run in runs if run.seconds < _SHORTEST_SECONDS)
    if not short:
        return []
    return [f"Measured for less than {_SHORTEST_SECONDS:g} s, so take more --records: {', '.join(short)}."]


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
