"""The benchmark against peers: every job over the same backlog, in interleaved rounds of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.bars import bars
from benchmarks.broker import Broker
from benchmarks.contract import Contract
from benchmarks.jobs import JOBS
from benchmarks.jobs.job import Job, RunError, UnavailableError, Workbench
from benchmarks.run import Measurement, run_job
from benchmarks.summary import Round
from benchmarks.throughput import Sizes

__all__ = ["Options", "Outcome", "measure_peers"]

#: Fewer records than this say nothing, whatever a job's share.
_FEWEST = 5_000

#: More than the clients fetch ahead from a backlog of a million.
_TAIL = 0.1


@dataclass(frozen=True)
class Options:
    """What to measure: `records` count, after `warm_up` times as many that do not."""

    jobs: tuple[str, ...]
    runs: int
    records: int
    warm_up: float
    contract: Contract
    results: Path

    def sizes(self, job: Job) -> Sizes:
        """Return how large a backlog a job works off."""
        measured = min(self.records, max(_FEWEST, round(self.records * job.share)))
        return Sizes(max(1, round(measured * self.warm_up)), measured, round(measured * _TAIL))


@dataclass
class Outcome:
    """What was measured, and why what was not was not."""

    rounds: list[Round] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure_peers(broker: Broker, options: Options, console: Console) -> Outcome:
    """Prepare the jobs, then run each once per round; the order rotates so that none is always first."""
    outcome = Outcome()
    token = uuid4().hex[:8]
    with _progress(console) as progress:
        jobs = _prepare(options, outcome, progress)
        step = progress.add_task("writing bars")
        largest = max((options.sizes(job).total for job in jobs), default=0)
        bench = Workbench(broker, options.contract, bars(largest, options.contract), token)
        for number in range(options.runs):
            passed: Round = {}
            outcome.rounds.append(passed)
            for job in _rotated(jobs, number):
                if job.name in outcome.failed:
                    continue
                sizes = options.sizes(job)
                label = f"round {number + 1} of {options.runs}: {job.title}"
                progress.reset(step, description=label, total=sizes.total)
                folder = options.results / token / f"{job.name}.{number + 1}"
                try:
                    passed[job.name] = _run(bench, job, number, sizes, folder, progress, step)
                except RunError as problem:
                    outcome.failed[job.name] = str(problem)
    return outcome


def _run(
    bench: Workbench,
    job: Job,
    number: int,
    sizes: Sizes,
    folder: Path,
    progress: Progress,
    step: TaskID,
) -> Measurement:
    return run_job(bench, job, str(number + 1), sizes, folder, lambda records: progress.update(step, completed=records))


def _prepare(options: Options, outcome: Outcome, progress: Progress) -> list[Job]:
    """Return the jobs that can run here; the others are noted with the reason."""
    step = progress.add_task("preparing", total=len(options.jobs))
    jobs = []
    for name in options.jobs:
        job = JOBS[name]
        progress.update(step, description=f"preparing {job.title}")
        try:
            job.prepare()
            jobs.append(job)
        except UnavailableError as reason:
            outcome.skipped[name] = str(reason)
        progress.advance(step)
    progress.remove_task(step)
    return jobs


def _rotated(jobs: Sequence[Job], by: int) -> list[Job]:
    start = by % len(jobs) if jobs else 0
    return [*jobs[start:], *jobs[:start]]


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
