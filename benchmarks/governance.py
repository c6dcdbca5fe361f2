"""What governance costs: `python -m benchmarks.governance [--only speed|memory|change] [--json FILE]`.

*Speed* is the normalizer's rate in strict mode as a share of its rate in optional mode, in interleaved rounds. *Memory*
is its resident set while a misbehaving fleet writes a hundred thousand schema ids. *Change* is the time from a mode
that is set to the first row that is judged by it, while rows come steadily.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import psutil
import typer
from confluent_kafka import Producer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.bars import SYMBOLS, bars
from benchmarks.contract import Contract
from benchmarks.goals import GOVERNANCE_AT_LEAST, GOVERNANCE_AT_MOST, at_least, at_most
from benchmarks.jobs.job import Command, Workbench
from benchmarks.jobs.seamless_normalizer import SeamlessNormalizer
from benchmarks.programs.assignment import Assignment
from benchmarks.run import run_job, start_job, stop_job
from benchmarks.stack import running_broker
from benchmarks.throughput import Sizes
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.wire import header
from streams import topics
from streams.audit_trail import set_policy
from streams.clock import now_ms
from streams.registry import Registry
from streams.schema_audit import AuditEntry
from streams.schema_policy import SchemaPolicy
from streams.settings import load_settings

__all__ = ["main"]

_DATASET = "bars"
_DISTINCT = 100_000
_PASSES = 3
_FIRST_ID = 1_000_000
_DEADLINE_SECONDS = 300.0
_RATE = 1_000
_STEADY_ROWS = 3_000


class Part(StrEnum):
    """What can be measured alone."""

    SPEED = "speed"
    MEMORY = "memory"
    CHANGE = "change"


class Governed(SeamlessNormalizer):
    """The product in a mode of governance, which may quarantine all that it reads."""

    def __init__(self, mode: str) -> None:
        self.name, self.mode = f"seamless_{mode}", mode

    def command(self, task: Assignment) -> Command:
        """Run it as the settings say, but for the mode."""
        found = super().command(task)
        mode = {"SEAMLESS_DATASETS__BARS__SCHEMA_MODE": self.mode, "SEAMLESS_QUARANTINE__MAX_SHARE": "1"}
        return Command(found.arguments, {**found.environ, **mode})


def speed(bench: Workbench, folder: Path, records: int, runs: int) -> dict[str, float]:
    """Return the medians over several rounds of the rates in both modes, and of each round's own ratio."""
    sizes = Sizes(records // 2, records, records // 10)
    rates: dict[str, list[float]] = {"optional": [], "strict": []}
    for run in range(runs):
        modes = ["optional", "strict"] if run % 2 == 0 else ["strict", "optional"]
        for mode in modes:
            found = run_job(bench, Governed(mode), f"{mode}-{run}", sizes, folder / f"{mode}-{run}", lambda _: None)
            rates[mode].append(found.records_per_second)
    ratios = [strict / optional for strict, optional in zip(rates["strict"], rates["optional"], strict=True)]
    return {
        "optional records/s": median(rates["optional"]),
        "strict records/s": median(rates["strict"]),
        "strict / optional": median(ratios),
    }


def memory(bench: Workbench, folder: Path) -> dict[str, float]:
    """Return the resident memory in MB in the first and in the last pass over a hundred thousand schema ids."""
    job = Governed("strict")
    task, _ = job.assign(bench, "memory", len(SYMBOLS), folder)
    ids = np.random.default_rng(1).permutation(np.arange(_FIRST_ID, _FIRST_ID + _DISTINCT)).tolist()
    _produce(bench, task.input_topic, [header(i) + b"?" for i in ids] * _PASSES)
    wanted = _DISTINCT * _PASSES
    topic = topics.quarantine(load_settings(folder / "seamless.toml", env={}).world, _DATASET)
    process = start_job(job.command(task), folder / "output.log")
    began, done = time.monotonic(), 0
    samples: list[tuple[int, float]] = []
    try:
        with Progress(transient=True) as progress:
            bar = progress.add_task("memory", total=wanted)
            while done < wanted:
                if time.monotonic() - began > _DEADLINE_SECONDS or process.poll() is not None:
                    raise RuntimeError(f"the normalizer did not finish; its log is {folder / 'output.log'}")
                time.sleep(0.1)
                done = bench.broker.visible_offsets(topic)
                samples.append((done, psutil.Process(process.pid).memory_info().rss / 1e6))
                progress.update(bar, completed=min(done, wanted))
    finally:
        stop_job(process)
    seconds = time.monotonic() - began
    job.clean(bench, task)
    early = [mb for at, mb in samples if 0.15 * wanted < at < 0.35 * wanted]
    late = [mb for at, mb in samples if at > 0.8 * wanted]
    return {
        "schema ids": _DISTINCT,
        "rows/s": wanted / seconds,
        "early_mb": float(np.median(early)),
        "late_mb": float(np.median(late)),
        "late_mb / early_mb": float(np.median(late) / np.median(early)),
    }


def change(bench: Workbench, folder: Path) -> dict[str, float]:
    """Return the seconds from a mode that is set to the first row that it sends to quarantine."""
    job = Governed("optional")
    task, _ = job.assign(bench, "change", len(SYMBOLS), folder)
    settings = load_settings(folder / "seamless.toml", env={})
    stop = threading.Event()
    with Registry(settings.registry) as registry:
        schema = json.loads(bench.contract.text)
        schema["fields"].append({"name": "venue", "type": "string", "default": ""})
        strange = registry.register(f"{settings.world}.elsewhere-value", schema).id
        process = start_job(job.command(task), folder / "output.log")
        codec = ReferenceCodec(parse_record(schema), strange)
        writer = threading.Thread(target=_write_steadily, args=(bench, task.input_topic, codec, stop))
        writer.start()
        try:
            quarantine = topics.quarantine(settings.world, _DATASET)
            _await(lambda: bench.broker.visible_offsets(task.output_topic) > _STEADY_ROWS, "the first rows")
            policy = SchemaPolicy(_DATASET, "strict", by="the benchmark", reason="to be timed", at=now_ms())
            entry = AuditEntry(policy.at, policy.by, "mode", _DATASET, after=policy.words(), reason=policy.reason)
            set_policy(settings, registry, policy, entry)
            began = time.monotonic()
            _await(lambda: bench.broker.visible_offsets(quarantine) > 0, "the first quarantined row")
            took = time.monotonic() - began
        finally:
            stop.set()
            writer.join()
            stop_job(process)
    job.clean(bench, task)
    return {"mode change s": took}


def _write_steadily(bench: Workbench, topic: str, codec: ReferenceCodec, stop: threading.Event) -> None:
    producer = Producer({**bench.broker.client, "linger.ms": 0, "partitioner": "murmur2_random"})
    began, number = time.perf_counter(), 0
    while not stop.is_set():
        while (ahead := began + number / _RATE - time.perf_counter()) > 0:
            time.sleep(ahead)
        symbol = SYMBOLS[number % len(SYMBOLS)]
        bar = {"symbol": symbol, "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 1.0, "flags": 0}
        payload = codec.encode_one(bar | {"event_time": int(time.time() * 1e6), "venue": ""})
        producer.produce(topic, payload, symbol.encode())
        producer.poll(0)
        number += 1
    producer.flush()


def _produce(bench: Workbench, topic: str, payloads: list[bytes]) -> None:
    producer = Producer({**bench.broker.client, "partitioner": "murmur2_random"})
    for number, payload in enumerate(payloads):
        while True:
            try:
                producer.produce(topic, payload, SYMBOLS[number % len(SYMBOLS)].encode())
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come")
        time.sleep(0.01)


def main(
    records: Annotated[int, typer.Option(min=100_000, help="Bars of each run of the speed.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Rounds of the speed, of which the median counts.")] = 5,
    only: Annotated[Part | None, typer.Option(help="Measure this alone.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure what strict costs, what a misbehaving fleet costs, and how soon a mode is in force."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    contract = Contract.load()
    figures: dict[str, dict[str, float]] = {}
    with running_broker(None, None, console) as broker, tempfile.TemporaryDirectory() as scratch:
        bench = Workbench(broker, contract, bars(records * 2, contract), uuid.uuid4().hex[:6])
        for part in Part if only is None else [only]:
            folder = Path(scratch) / part
            folder.mkdir()
            if part is Part.SPEED:
                figures[part.value] = speed(bench, folder, records, runs)
            else:
                figures[part.value] = (memory if part is Part.MEMORY else change)(bench, folder)
    table = Table("measure", "figure", "wanted", box=None)
    for group, values in figures.items():
        for name, value in values.items():
            wanted = at_least(GOVERNANCE_AT_LEAST.get(name), value) + at_most(GOVERNANCE_AT_MOST.get(name), value)
            table.add_row(f"{group}: {name}", f"{value:,.0f}" if value >= 1_000 else f"{value:,.3g}", wanted)
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
