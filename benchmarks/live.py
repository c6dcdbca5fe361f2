"""Latency and memory of the normalizer: `python -m benchmarks.live [--only latency|memory] [--json FILE]`.

*Latency* is measured as a reader feels it: bars are produced one by one, a thousand a second, each stamped with the
moment of its production; a `read_committed` reader notes when each normalized bar reaches it.

*Memory* is the resident set while five million bars are worked off: it must not grow with what has passed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import uuid
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.bars import SYMBOLS, bars
from benchmarks.broker import PARTITIONS
from benchmarks.contract import Contract
from benchmarks.goals import AT_MOST, at_most
from benchmarks.jobs.job import Workbench
from benchmarks.jobs.seamless_normalizer import SeamlessNormalizer
from benchmarks.run import start_job, stop_job
from benchmarks.stack import running_broker
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec

__all__ = ["main"]

_RATE = 1_000
_WARM_SECONDS = 3.0
_DEADLINE_SECONDS = 300.0


class Part(StrEnum):
    """What can be measured alone."""

    LATENCY = "latency"
    MEMORY = "memory"


def latency(bench: Workbench, folder: Path, seconds: float, runs: int) -> dict[str, float]:
    """Return the medians over several runs of percentiles from produce to visible, in milliseconds."""
    found = []
    for run in range(runs):
        (folder / str(run)).mkdir()
        found.append(_latency(bench, folder / str(run), seconds, f"latency-{run}"))
    return {name: median(each[name] for each in found) for name in found[0]}


def _latency(bench: Workbench, folder: Path, seconds: float, run: str) -> dict[str, float]:
    job = SeamlessNormalizer()
    task, _ = job.assign(bench, run, len(SYMBOLS), folder)
    codec = ReferenceCodec(parse_record(json.loads(bench.contract.text)), task.schema_id)
    process = start_job(job.command(task), folder / "output.log")
    arrivals: list[tuple[float, bytes]] = []
    stop = threading.Event()
    reader = threading.Thread(target=_read, args=(bench, task.output_topic, arrivals, stop))
    reader.start()
    try:
        # The backlog of one bar a symbol proves that the normalizer works before the clock starts.
        _await(lambda: len(arrivals) >= len(SYMBOLS), "the first rows")
        _produce_steadily(bench, task.input_topic, codec, seconds + _WARM_SECONDS)
        wanted = len(SYMBOLS) + int((seconds + _WARM_SECONDS) * _RATE)
        _await(lambda: len(arrivals) >= wanted, "the last rows")
    finally:
        stop.set()
        reader.join()
        stop_job(process)
    sent = np.array([codec.decode_one(payload)["event_time"] / 1e6 for _, payload in arrivals])
    took = (np.array([at for at, _ in arrivals]) - sent) * 1_000
    steady = took[len(SYMBOLS) + int(_WARM_SECONDS * _RATE) :]
    job.clean(bench, task)
    p50, p90, p99 = (float(p) for p in np.percentile(steady, [50, 90, 99]))
    return {"records": len(steady), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": float(steady.max())}


def _read(bench: Workbench, topic: str, arrivals: list[Any], stop: threading.Event) -> None:
    config = {"group.id": "bench", "isolation.level": "read_committed", "fetch.wait.max.ms": 5}
    consumer = Consumer({**bench.broker.client, **config})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    while not stop.is_set():
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            arrivals.append((time.time(), message.value()))
    consumer.close()


def _produce_steadily(bench: Workbench, topic: str, codec: ReferenceCodec, seconds: float) -> None:
    producer = Producer(
        {**bench.broker.client, "enable.idempotence": True, "linger.ms": 0, "partitioner": "murmur2_random"}
    )
    began = time.perf_counter()
    for number in range(int(seconds * _RATE)):
        while (ahead := began + number / _RATE - time.perf_counter()) > 0:
            time.sleep(ahead)
        symbol = SYMBOLS[number % len(SYMBOLS)]
        bar = {"symbol": symbol, "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 1.0, "flags": 0}
        producer.produce(topic, codec.encode_one(bar | {"event_time": int(time.time() * 1e6)}), symbol.encode())
        producer.poll(0)
    producer.flush()


def memory(bench: Workbench, folder: Path, records: int) -> dict[str, float]:
    """Return the resident memory in MB at a fifth of the work, at its end, and at its highest."""
    job = SeamlessNormalizer()
    task, _ = job.assign(bench, "memory", records, folder)
    process = start_job(job.command(task), folder / "output.log")
    samples: list[tuple[int, float]] = []
    try:
        with Progress(transient=True) as progress:
            bar = progress.add_task("memory", total=records)
            deadline = time.monotonic() + _DEADLINE_SECONDS
            done = 0
            while done < records:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"the normalizer did not finish; its log is {folder / 'output.log'}")
                time.sleep(0.1)
                done = bench.broker.visible_offsets(task.output_topic)
                samples.append((done, psutil.Process(process.pid).memory_info().rss / 1e6))
                progress.update(bar, completed=min(done, records))
    finally:
        stop_job(process)
    job.clean(bench, task)
    early = [mb for at, mb in samples if 0.15 * records < at < 0.35 * records]
    late = [mb for at, mb in samples if at > 0.8 * records]
    return {
        "records": records,
        "early_mb": float(np.median(early)),
        "late_mb": float(np.median(late)),
        "late_mb / early_mb": float(np.median(late) / np.median(early)),
        "peak_mb": max(mb for _, mb in samples),
    }


def _await(condition: Any, what: str) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come")
        time.sleep(0.01)


def main(
    seconds: Annotated[float, typer.Option(min=1, help="How long latency is measured in each run.")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs of the latency, of which the median counts.")] = 3,
    only: Annotated[Part | None, typer.Option(help="Measure this alone.")] = None,
    records: Annotated[int, typer.Option(min=100_000, help="Bars of the memory run.")] = 5_000_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure the normalizer's latency at a thousand bars a second and its memory over millions."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    contract = Contract.load()
    with running_broker(None, None, console) as broker, tempfile.TemporaryDirectory() as scratch:
        bench = Workbench(broker, contract, bars(records, contract), uuid.uuid4().hex[:6])
        figures = {}
        for part in Part if only is None else [only]:
            folder = Path(scratch) / part
            folder.mkdir()
            measured = part is Part.LATENCY
            figures[part.value] = latency(bench, folder, seconds, runs) if measured else memory(bench, folder, records)
    table = Table("measure", "figure", "wanted", box=None)
    for group, values in figures.items():
        for name, value in values.items():
            shown = f"{value:,.0f}" if value >= 1_000 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"
            table.add_row(f"{group} {name}", shown, at_most(AT_MOST.get(name), value))
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
