"""One run of one job: start it, wait until all its output is visible, stop it, verify and measure."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.broker import Broker
from benchmarks.footprint import Footprint
from benchmarks.jobs.job import Command, Job, RunError, Workbench
from benchmarks.reading import TopicContent, read_topic
from benchmarks.throughput import Sizes, measured_window

__all__ = ["Measurement", "run_job", "start_job", "stop_job"]

_POLL_SECONDS = 0.25
#: Output that has not grown for so long, and is long enough, is complete; verification tells if it was not.
_QUIET_SECONDS = 1.5
_STALL_SECONDS = 90.0
_STOP_SECONDS = 10.0

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Measurement:
    """What one verified run showed; rates and costs are those of the measured window."""

    job: str
    records: int
    seconds: float
    records_per_second: float
    cpu_us_per_record: float
    peak_bytes: int


def run_job(bench: Workbench, job: Job, run: str, sizes: Sizes, folder: Path, progress: Progress) -> Measurement:
    """Run a job over a backlog of that size; raises RunError.

    `folder` is new and belongs to the run; the process logs there. `progress` is told the records so far.
    """
    folder.mkdir(parents=True)
    log = folder / "output.log"
    task, backlog = job.assign(bench, run, sizes.total, folder)
    process = start_job(job.command(task), log)
    try:
        with Footprint(process.pid) as footprint:
            _await_output(bench.broker, task.output_topic, sizes.total, process, progress)
    except RunError as problem:
        raise RunError(f"{job.name}: {problem}; its log is {log}") from None
    finally:
        stop_job(process)
    content = read_topic(bench.broker, task.output_topic)
    _verify(job.name, content, backlog.content)
    job.clean(bench, task)
    window = measured_window(content.append_ms, sizes)
    cpu = footprint.cpu_seconds(window.started_ms, window.ended_ms)
    return Measurement(
        job=job.name,
        records=window.records,
        seconds=window.seconds,
        records_per_second=window.records_per_second,
        cpu_us_per_record=cpu * 1e6 / window.records,
        peak_bytes=footprint.peak_bytes,
    )


def start_job(command: Command, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command.arguments,
            env={**os.environ, **command.environ},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its children can be stopped with it
        )


def _await_output(
    broker: Broker, topic: str, records: int, process: subprocess.Popen[bytes], progress: Progress
) -> None:
    seen, changed = 0, time.monotonic()
    while True:
        time.sleep(_POLL_SECONDS)
        now, offsets = time.monotonic(), broker.visible_offsets(topic)
        if offsets != seen:
            seen, changed = offsets, now
            progress(min(seen, records))
        if seen >= records and now - changed > _QUIET_SECONDS:
            return
        if process.poll() is not None:
            raise RunError(f"ended with code {process.returncode} after {seen:,} of {records:,} records")
        if now - changed > _STALL_SECONDS:
            raise RunError(f"stood still for {_STALL_SECONDS:.0f} s after {seen:,} of {records:,} records")


def stop_job(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children: politely, then for certain."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _verify(name: str, found: TopicContent, expected: TopicContent) -> None:
    """Compare every key and body, in order, with what the input holds."""
    if found.records != expected.records:
        raise RunError(f"{name}: wrote {found.records:,} visible records instead of {expected.records:,}")
    if found != expected:
        raise RunError(f"{name}: wrote as many records as expected, but not the same ones in the same order")
    if len(found.headers) != 1 or any(header[:1] != b"\0" for header in found.headers):
        raise RunError(f"{name}: framed its records with {sorted(found.headers)}")
