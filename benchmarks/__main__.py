"""The command line: `python -m benchmarks [peers ...]`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.contract import Contract
from benchmarks.jobs import JOBS
from benchmarks.peers import Options, measure_peers
from benchmarks.report import print_report, write_json
from benchmarks.stack import running_broker

_RESULTS = Path(__file__).parent / "results"


def _known(names: list[str] | None) -> list[str]:
    for name in names or []:
        if name not in JOBS:
            raise typer.BadParameter(f"there is no job {name!r}; the jobs are {', '.join(JOBS)}")
    return names or []


def main(
    names: Annotated[list[str] | None, typer.Argument(callback=_known, help="Jobs to run; all by default.")] = None,
    only: Annotated[list[str] | None, typer.Option(callback=_known, help="The same, as an option.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 3,
    records: Annotated[int, typer.Option(min=1_000, help="Measured records per run.")] = 1_000_000,
    warm_up: Annotated[
        float, typer.Option(min=0.0, help="Records before them, as a multiple, that are not measured.")
    ] = 2.0,
    contract: Annotated[Path | None, typer.Option(exists=True, help="Avro schema of the bars.")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="A running cluster instead of an embedded one.")] = None,
    registry: Annotated[str | None, typer.Option(help="The schema registry of that cluster.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write every measurement to this file.")] = None,
) -> None:
    """Measure the job consume, decode, check, encode, produce against peers, as ratios in one run."""
    # A log file has no width of its own; the table needs this much to keep its figures whole.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if (bootstrap is None) != (registry is None):
        raise typer.BadParameter("--bootstrap and --registry go together")
    wanted = {*(names or []), *(only or [])} or set(JOBS)
    options = Options(
        jobs=tuple(name for name in JOBS if name in wanted),
        runs=runs,
        records=records,
        warm_up=warm_up,
        contract=Contract.load(contract),
        results=_RESULTS,
    )
    with running_broker(bootstrap, registry, console) as broker:
        outcome = measure_peers(broker, options, console)
    print_report(outcome, options, console)
    if json is not None:
        write_json(outcome, options, json)
    raise typer.Exit(1 if outcome.failed else 0)


if __name__ == "__main__":
    # Leave by an exception, so that the running job and the stack are stopped with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    typer.run(main)
