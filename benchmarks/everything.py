"""All benchmarks one after the other, as `make bench` runs them: `python -m benchmarks.everything [NAME ...]`.

Each is a process of its own, so that one that fails costs no other, and none measures with what another left in memory.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["main"]

#: By name: what it measures, its module, its arguments. The longest one comes last.
_ALL: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "conformance": ("rows/s of the pipeline and of each rule", "benchmarks.conformance", ()),
    "live": ("the normalizer's latency and memory", "benchmarks.live", ()),
    "governance": ("what strict costs, a fleet of schema ids, a change of mode", "benchmarks.governance", ()),
    "planning": ("seconds to plan a backfill", "benchmarks.planning", ()),
    "backfill": ("workers against a plain loop, and their memory", "benchmarks.backfill", ()),
    "handover": ("from a worker's kill until its shards go on", "benchmarks.handover", ()),
    "coordinator_view": ("a coordinator's view of 100,000 shards", "benchmarks.coordinator_view", ()),
    "stream": ("a stream through history into live rows", "benchmarks.stream", ("--rows", "10000000")),
    "sla": ("the agent of objectives", "benchmarks.sla", ()),
    "alerts": ("from a breach to its alert", "benchmarks.alerts", ()),
    "start": ("seconds until the embedded stack answers", "benchmarks.start", ()),
    "archive": ("reads of the archive against polars and DuckDB", "benchmarks.archive", ("reads",)),
    "provider": ("fetches against polars, a crowd of them, and the archive's ingest", "benchmarks.provider", ()),
    "peers": ("the same job by Seamless and by its peers", "benchmarks", ()),
}


def _known(names: list[str] | None) -> list[str]:
    for name in names or []:
        if name not in _ALL:
            raise typer.BadParameter(f"there is no benchmark {name!r}; there are {', '.join(_ALL)}")
    return names or []


def _run(module: str, arguments: tuple[str, ...]) -> int:
    process = subprocess.Popen([sys.executable, "-m", module, *arguments])
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def main(
    names: Annotated[list[str] | None, typer.Argument(callback=_known, help="Those to run; all by default.")] = None,
) -> None:
    """Run all benchmarks, each with a table of its own against its goals; end with 1 if one of them failed."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    table = Table("benchmark", "minutes", "outcome", box=None)
    failed = False
    for name in [name for name in _ALL if not names or name in names]:
        what, module, arguments = _ALL[name]
        console.rule(f"{name}: {what}")
        began = time.monotonic()
        code = _run(module, arguments)
        failed = failed or code != 0
        table.add_row(name, f"{(time.monotonic() - began) / 60:.1f}", f"failed with {code}" if code else "done")
    console.rule("all benchmarks")
    console.print(table)
    raise typer.Exit(int(failed))


if __name__ == "__main__":
    # Leave by an exception, so that the benchmark that runs is stopped with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    typer.run(main)
