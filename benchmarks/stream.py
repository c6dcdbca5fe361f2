"""A stream through a long history and into live rows: rows/s and memory, `python -m benchmarks.stream [--rows N]`.

History is a table of minute bars of twenty symbols, written without Kafka; live rows are bars that are written behind
it in transactions while the stream reads. The reader is a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import psutil
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.archive import CONTRACT, Variant, bars, fill
from benchmarks.goals import at_most
from benchmarks.stack import running_broker
from schemas.codec import Encoder
from schemas.contract import load_contract
from streams import topics
from streams.clients import producer_config
from streams.provider.provider import Provider
from streams.registry import Registry
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import Settings, load_settings
from streams.sla_policy import SLAPolicy
from streams.topic_admin import TopicAdmin
from streams.transactions import TransactionalProducer

DATASET, SYMBOLS = "bars", 20
MINUTES_OF_A_MONTH = 30 * 1_440
PEAK_MB = 500.0
_PER_TRANSACTION = 20_000
_TOLD = "told: "


def settings_of(folder: Path, bootstrap: str, registry_url: str) -> Settings:
    values: dict[str, Any] = {
        "world": "bench",  # history is of another one, so that its offsets are none of these topics'
        "kafka": {"bootstrap_servers": bootstrap},
        "registry": {"url": registry_url},
        "archive": {"url": str(folder / "archive")},
        "datasets": {DATASET: {"contract": "ohlcv", "interval": "1m", "calendar": "24/7", "partitions": 1}},
    }
    return load_settings(None, {}, values, stack=lambda: None)


def read(folder: Path, bootstrap: str, registry_url: str, history: int, live: int) -> None:
    """Read so many rows of history, then of live rows; print a line of JSON for each part."""
    settings, process = settings_of(folder, bootstrap, registry_url), psutil.Process()
    resident: list[int] = []
    with (
        Provider(settings, observe=False) as provider,
        provider.stream(DATASET, sla=SLAPolicy(min_coverage=0), fill=False) as stream,
    ):
        for part, wanted in (("history", history), ("live", live)):
            rows, began, step = 0, time.perf_counter(), max(1, wanted // 10)
            while rows < wanted:
                rows += next(stream).height
                if rows >= step * (len(resident) % 10 + 1):
                    resident.append(process.memory_info().rss)
            seconds = time.perf_counter() - began
            told = {"part": part, "rows": rows, "seconds": seconds, "resident": resident, "late": stream.late_rows}
            print(_TOLD + json.dumps(told), flush=True)
            resident = []


def next_told(lines: Iterable[str]) -> dict[str, Any]:
    """Return what the reader tells next, between the lines of its log."""
    for line in lines:
        if line.startswith(_TOLD):
            told: dict[str, Any] = json.loads(line.removeprefix(_TOLD))
            return told
    raise RuntimeError("the reader ended before it was done")


def write_live(settings: Settings, first_minute: int, rows: int) -> None:
    """Write bars behind history, in transactions, as the normalizer would."""
    topic = topics.normalized(settings.world, DATASET)
    with Registry(settings.registry) as registry:
        found = registry.lookup(topics.subject(topic), load_contract("ohlcv").schema)
        assert found is not None
    encoder = Encoder(CONTRACT.record, found.id)
    producer = TransactionalProducer(producer_config(settings, transactional_id="bench.stream"), 30.0)
    producer.ready()
    minutes = _PER_TRANSACTION // SYMBOLS
    for minute in range(first_minute, first_minute + rows // SYMBOLS, minutes):
        table = bars(SYMBOLS, minute, minutes, 0).select(CONTRACT.columns.names)
        batch = pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], schema=CONTRACT.columns)
        producer.begin()
        keys = [str(symbol).encode() for symbol in batch.column("symbol").to_pylist()]
        producer.send(topic, encoder.encode(batch), keys, [0] * batch.num_rows)
        producer.commit()
    producer.close()


app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    rows: Annotated[int, typer.Option(help="Rows of history.")] = 50_000_000,
    live: Annotated[int, typer.Option(help="Rows that come afterwards.")] = 1_000_000,
) -> None:
    """Measure, print a table, and end with 1 if memory is not what it should be."""
    if context.invoked_subcommand is not None:
        return
    console = Console()
    months = max(1, round(rows / (SYMBOLS * MINUTES_OF_A_MONTH)))
    history = months * SYMBOLS * MINUTES_OF_A_MONTH
    with tempfile.TemporaryDirectory(prefix="seamless-bench-") as name, running_broker(None, None, console) as broker:
        settings = settings_of(Path(name), broker.bootstrap, broker.registry_url)
        TopicAdmin(settings.kafka, timeout=60).apply(topics.topics_for(settings))
        with Registry(settings.registry) as registry:
            register_subjects(registry, wanted_subjects(settings))
        with console.status(f"writing {history:,} rows of history"):
            fill(settings, Variant("", "_month"), SYMBOLS, months)
        arguments = ["--folder", name, "--bootstrap", broker.bootstrap, "--registry", broker.registry_url]
        command = [sys.executable, "-m", "benchmarks.stream", "read", *arguments]
        command += ["--history", str(history), "--live", str(live)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader, console.status("reading"):
            assert reader.stdout is not None
            told = [next_told(reader.stdout)]
            write_live(settings, months * MINUTES_OF_A_MONTH, live)
            told.append(next_told(reader.stdout))
    table = Table(title=f"A stream through {history:,} rows of history and {live:,} live ones")
    for column in ("part", "rows", "rows/s", "early MB", "late MB", "peak MB", "wanted"):
        table.add_column(column, justify="left" if column == "part" else "right")
    peak = 0.0
    for part in told:
        resident = [size / 1e6 for size in part["resident"]]
        peak = max(peak, *resident)
        cells = f"{resident[1]:.0f}", f"{resident[-1]:.0f}", f"{max(resident):.0f}", at_most(PEAK_MB, max(resident))
        table.add_row(part["part"], f"{part['rows']:,}", f"{part['rows'] / part['seconds']:,.0f}", *cells)
    console.print(table)
    if peak > PEAK_MB or any(part["late"] for part in told):
        raise typer.Exit(1)


@app.command("read", hidden=True)
def _read(
    folder: Annotated[Path, typer.Option()],
    bootstrap: Annotated[str, typer.Option()],
    registry: Annotated[str, typer.Option()],
    history: Annotated[int, typer.Option()],
    live: Annotated[int, typer.Option()],
) -> None:
    read(folder, bootstrap, registry, history, live)


if __name__ == "__main__":
    app()
