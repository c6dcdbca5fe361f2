"""How long the embedded stack takes to start: `python -m benchmarks.start [--runs N] [--json FILE]`.

*Again* is a start over the data of the one before, *fresh* one in an empty folder, whose storage is formatted first.
Measured is the time from the call until Kafka answers a request, and until the whole stack does. A first start, not
measured, loads what is missing and records the JVMs' caches.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.goals import START_SECONDS, at_most
from operations.stack import EmbeddedStack
from operations.stack.ports import free_ports
from operations.stack.probe import kafka_answers

__all__ = ["main"]

_EVERY_SECONDS = 0.01


def started(folder: Path) -> tuple[float, float]:
    """Start a stack and end it; return the seconds until Kafka answered, and until all of it did."""
    port = free_ports(1)[0]
    stack = EmbeddedStack(folder, kafka_port=port, die_with_parent=True)
    answered: list[float] = []
    over = threading.Event()
    began = time.perf_counter()

    def watch() -> None:
        while not kafka_answers(port):
            if over.wait(_EVERY_SECONDS):
                return
        answered.append(time.perf_counter() - began)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with stack:
            whole = time.perf_counter() - began
            watching.join()
    finally:
        over.set()
    return answered[0], whole


def main(
    runs: Annotated[int, typer.Option(min=1, help="Starts of each kind, of which the median counts.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure how long Kafka and the whole stack take to start."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    found: dict[str, list[tuple[float, float]]] = {"again": [], "fresh": []}
    with tempfile.TemporaryDirectory(prefix="seamless-bench-") as name:
        kept = Path(name) / "kept"
        with EmbeddedStack(kept, train=True, notify=lambda text: console.print(f"[dim]stack: {text}[/dim]")):
            pass
        for run in range(runs):
            found["again"].append(started(kept))
            found["fresh"].append(started(Path(name) / str(run)))
    figures = {}
    table = Table("start", "median s", "slowest s", "wanted", box=None)
    for kind, times in found.items():
        for what, seconds in zip(("Kafka answers", "the stack answers"), zip(*times, strict=True), strict=True):
            figures[f"{what}, {kind}"] = list(seconds)
            middle = median(seconds)
            # The goals are those of a warm start.
            goal = START_SECONDS[what] if kind == "again" else None
            table.add_row(f"{what}, {kind}", f"{middle:.2f}", f"{max(seconds):.2f}", at_most(goal, middle))
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
