"""The SLA agent: `python -m benchmarks.sla [--only core|fold|agent|delay|memory]`.

*core* is the fold of columns of observations into windows, on one core and without Kafka, with 1,000 objectives.
*fold* is the quantile of what readers have added up against the exact one. *agent* is how many records a second one
agent reads and folds, a standing backlog of sums of 1,000 readers; times the observations in each, it is how many it
serves. *delay* is from the end of a window to the record of the breach. *memory* is what 10,000 open windows take, and
what they take later.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks.stack import running_broker
from streams import topics
from streams.clients import producer_config, reader_config
from streams.clock import Deadline, now
from streams.events import EventCodec
from streams.provider.observations import Observation
from streams.registry import Registry
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import Settings, load_settings
from streams.sla.breach import EVENT, Breach
from streams.sla.objectives import Objectives, SeriesKey
from streams.sla.partition import PartitionWindows
from streams.sla.prefold import Columns, fold_columns
from streams.sla.records import Told
from streams.sla.sketch import bin_at, value_of
from streams.sla.verdict import Links, moment, nanos
from streams.topic_admin import TopicAdmin

__all__ = ["main"]

NS = 1_000_000_000
READERS = 1_000
OBJECTIVE = {"kind": "quantile", "quantile": 0.99, "limit": "2s", "window": "5m"}
GOALS = {"core": 500_000, "served": 500_000, "delay": 1.0, "error": 0.01}

Row = tuple[str, str, str, str]


def settings_of(bootstrap: str = "localhost:1", registry: str = "http://localhost:1", **objective: Any) -> Settings:
    """Return the settings of a world in which one objective is watched for every reader."""
    values = {
        "world": "bench",
        "kafka": {"bootstrap_servers": bootstrap},
        "registry": {"url": registry},
        "datasets": {"bars": {"contract": "ohlcv", "interval": "1m"}},
        "sla": {"objectives": {"quick": {**OBJECTIVE, **objective}}},
        "sla_agent": {"defaults": False},
        "metrics": {"port": 0},
    }
    return load_settings(env={"SEAMLESS_CONFIG": os.devnull}, overrides=values)


def columns(count: int, readers: int, seconds: float, seed: int = 1) -> Columns:
    """Return observations of readers over some seconds, with times as fetches have them."""
    random = np.random.default_rng(seed)
    began = int(datetime(2026, 3, 2, 15, tzinfo=UTC).timestamp()) * NS
    elapsed = random.lognormal(-2.0, 1.0, count)
    at = np.sort(began + (random.random(count) * seconds * NS).astype(np.int64))
    return Columns(random.integers(0, readers, count), at, elapsed, elapsed > 2.0)


def core(count: int = 2_000_000) -> list[Row]:
    """Fold columns into the windows of 1,000 readers, batch by batch, and close them."""
    everything = columns(count, READERS, 600.0)
    windows = PartitionWindows(Objectives(settings_of()), Links("bench"), NS // 2)
    keys = [SeriesKey("bars", f"reader{n}", "total") for n in range(READERS)]
    offset, batch = 0, count // 10
    began = time.perf_counter()
    for start in range(0, count, batch):
        some = slice(start, start + batch)
        group, at, elapsed, over = everything
        part = Columns(group[some], at[some], elapsed[some], over[some])
        for (reader, second), fold in fold_columns(part, 10 * NS).items():
            windows.fold(offset, Told(keys[reader], second, fold))
            offset += 1
        windows.tick(offset, int(part.at[-1]))
        offset += 1
    windows.tick(offset, int(everything.at[-1]) + 600 * NS)
    took = time.perf_counter() - began
    output = windows.drain()
    assert output.observations == count
    assert not output.late
    return [("core: folded and judged", f"{count / took:,.0f} observations/s", f">= {GOALS['core']:,}",
             _met(count / took >= GOALS["core"]))]  # fmt: skip


def fold(count: int = 600_000) -> list[Row]:
    """Compare quantiles of what readers have added up with the exact ones."""
    everything = columns(count, 1, 60.0)
    folds = fold_columns(everything)
    bins: dict[int, int] = {}
    for each in folds.values():
        for one, number in each.bins.items():
            bins[one] = bins.get(one, 0) + number
    exact = np.sort(everything.elapsed)
    worst = 0.0
    for share in (0.5, 0.9, 0.99, 0.999):
        found = bin_at(bins, share)
        assert found is not None
        true = float(exact[int(np.ceil(share * count)) - 1])
        worst = max(worst, abs(value_of(found) - true) / true)
    return [("added up by readers: error of a quantile", f"{worst:.3%}", f"<= {GOALS['error']:.0%}",
             _met(worst <= GOALS["error"]))]  # fmt: skip


@contextmanager
def prepared(**objective: Any) -> Any:
    """Yield settings and a registry of a world on a stack of its own."""
    with running_broker(None, None, Console(stderr=True)) as broker:
        settings = settings_of(broker.bootstrap, broker.registry_url, **objective)
        TopicAdmin(settings.kafka, timeout=60).apply(topics.topics_for(settings))
        with Registry(settings.registry) as registry:
            register_subjects(registry, wanted_subjects(settings))
            yield settings, registry


@contextmanager
def agent_of(settings: Settings) -> Any:
    """Run an agent while the block runs; yields its process and its log."""
    with tempfile.TemporaryDirectory() as folder:
        config, log = Path(folder) / "seamless.toml", Path(folder) / "agent.log"
        objective = settings.sla.objectives["quick"].model_dump(exclude_unset=True)
        lines = [f"{name} = {json.dumps(value)}" for name, value in objective.items()]
        config.write_text(
            f'world = "bench"\n[kafka]\nbootstrap_servers = "{settings.kafka.bootstrap_servers}"\n'
            f'[registry]\nurl = "{settings.registry.url}"\n[datasets.bars]\ncontract = "ohlcv"\ninterval = "1m"\n'
            "[sla_agent]\ndefaults = false\ncheckpoint_s = 1\n[sla.objectives.quick]\n" + "\n".join(lines) + "\n"
        )
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / "seamless"), "sla-agent", "--config", str(config)],
                stdout=out,
                stderr=out,
                env={**os.environ, "SEAMLESS_LOG__FORMAT": "json"},
            )
        try:
            yield process, log
        finally:
            process.terminate()
            process.wait(60)


def _until(condition: Callable[[], bool], seconds: float, what: str, log: Path) -> None:
    deadline = Deadline(seconds)
    while not condition():
        if deadline.passed():
            raise SystemExit(f"{what} did not happen within {seconds:g} s\n{log.read_text()[-4_000:]}")
        time.sleep(0.05)


def _metric(log: Path, name: str) -> float:
    import re
    import urllib.request

    url = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
    if url is None:
        return 0.0
    try:
        with urllib.request.urlopen(url.group() + "/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0  # asked again
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))


def observation(reader: int, at: datetime, elapsed: float, **changes: Any) -> Observation:
    """Return what a reader tells of a fetch in all."""
    values: dict[str, Any] = {
        "world": "bench", "dataset": "bars", "consumer": f"reader{reader}", "phase": "total", "interval": "1m",
        "lane": "live", "outcome": "ok", "elapsed_seconds": elapsed, "budget_seconds": None, "at": at, "fetch_id": "f",
    }  # fmt: skip
    return Observation(**(values | changes))


def _written(settings: Settings, registry: Registry, told: list[Observation]) -> int:
    topic = topics.sla_observations(settings.world)
    codec = EventCodec(registry, topic, "sla_observation")
    producer = Producer(producer_config(settings, linger_ms=20, compression="lz4"))
    for each in told:
        producer.produce(topic, codec.encode(each.datum()), each.objective.encode())
        producer.poll(0)
    producer.flush(60)
    return len(told)


def agent(seconds: int = 40, raw: int = 600) -> list[Row]:
    """Let one agent read a backlog: a sum of each of 1,000 readers for each second."""
    with prepared() as (settings, registry):
        began = nanos(now()) // NS * NS - seconds * NS
        folds = fold_columns(columns(READERS * raw, READERS, 1.0))
        told = [
            observation(reader, moment(began + second * NS), fold.longest, fold=fold)
            for second in range(seconds)
            for (reader, _), fold in folds.items()
        ]
        records = _written(settings, registry, told)
        observations = sum(each.fold.count for each in told if each.fold is not None)
        with agent_of(settings) as (process, log):
            name = "sla_partition_taken"
            _until(lambda: log.read_text().count(name) >= settings.topics.event_partitions, 90, name, log)
            start, cpu = time.perf_counter(), _cpu(process.pid)
            _until(lambda: _metric(log, "seamless_sla_observations_total") >= observations, 300, "reading", log)
            took, used = time.perf_counter() - start, _cpu(process.pid) - cpu
        rate = records / took
        return [
            ("one agent, 1,000 objectives: records", f"{rate:,.0f}/s, {used / records * 1e6:,.0f} us CPU each", "", ""),
            (f"one agent: observations served, {raw} a reader and second", f"{observations / took:,.0f}/s",
             f">= {GOALS['served']:,}", _met(observations / took >= GOALS["served"])),
        ]  # fmt: skip


def delay(rounds: int = 12) -> list[Row]:
    """Break a promise in a window, and see when the breach is written and can be read."""
    with prepared(window="1s", quantile=0.5) as (settings, registry):
        topic = topics.sla_breaches(settings.world)
        codec = EventCodec(registry, topic, EVENT)
        reader = Consumer(reader_config(settings))
        reader.assign([TopicPartition(topic, p, 0) for p in range(settings.topics.event_partitions)])
        written, read = [], []
        with agent_of(settings) as (_, log):
            name = "sla_partition_taken"
            _until(lambda: log.read_text().count(name) >= settings.topics.event_partitions, 90, name, log)
            for number in range(rounds):
                _written(settings, registry, [observation(number, now(), 9.0)])
                deadline = Deadline(30)
                while not deadline.passed():
                    message = reader.poll(0.5)
                    if message is None or message.error() is not None:
                        continue
                    breach = Breach.from_datum(codec.decode(message.value() or b""))
                    if breach.state == "opened" and breach.consumer == f"reader{number}":
                        written.append(message.timestamp()[1] / 1_000 - breach.window_end.timestamp())
                        read.append(now().timestamp() - breach.window_end.timestamp())
                        break
        reader.close()
        grace = settings.sla_agent.grace_ms / 1_000
        rows = []
        for what, found in (("written", written), ("read by a consumer", read)):
            p50, p99 = np.percentile(found, [50, 99])
            rows.append((f"window end to breach {what}, grace {grace:g} s: p50 / p99", f"{p50:.2f} / {p99:.2f} s",
                         f"<= {GOALS['delay']:g} s", _met(p99 <= GOALS["delay"])))  # fmt: skip
        return rows


def memory(windows: int = 10_000) -> list[Row]:
    """Hold 10,000 open windows, in which more and more is observed."""
    core_windows = PartitionWindows(Objectives(settings_of()), Links("bench"), 0)
    process = psutil.Process()
    before = process.memory_info().rss
    sizes = []
    random = np.random.default_rng(3)
    began = int(datetime(2026, 3, 2, 15, tzinfo=UTC).timestamp()) * NS
    offset = 0
    for round_of in range(8):
        for reader in range(windows):
            elapsed = float(random.lognormal(-2.0, 1.0))
            one = Columns(np.array([0]), np.array([began]), np.array([elapsed]), np.array([False]))
            key = SeriesKey("bars", f"reader{reader}", "total")
            core_windows.fold(offset, Told(key, began + round_of * NS, next(iter(fold_columns(one).values()))))
            offset += 1
        core_windows.checkpoint()
        sizes.append((process.memory_info().rss - before) / 2**20)
    assert core_windows.windows == windows
    core_windows.tick(offset, began + 400 * NS)
    core_windows.checkpoint()
    assert core_windows.windows == 0
    return [
        (
            "memory of 10,000 open windows, first and last of 8 rounds",
            f"{sizes[0]:,.0f} and {sizes[-1]:,.0f} MB",
            "",
            "",
        )
    ]


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _met(met: bool) -> str:
    return "yes" if met else "no"


PARTS: dict[str, Callable[[], list[Row]]] = {
    "core": core, "fold": fold, "memory": memory, "agent": agent, "delay": delay,
}  # fmt: skip


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Parts to measure: {', '.join(PARTS)}. Default: all.")] = None,
    json_to: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")] = None,
) -> None:
    """Measure the SLA agent against its goals."""
    table = Table("what", "measured", "goal", "met", box=None, pad_edge=False)
    rows: list[Row] = []
    for name, part in PARTS.items():
        if only and name not in only:
            continue
        for row in part():
            rows.append(row)
            table.add_row(*row)
    Console(width=140).print(table)
    if json_to is not None:
        json_to.write_text(
            json.dumps([dict(zip(("what", "measured", "goal", "met"), row, strict=True)) for row in rows])
        )


if __name__ == "__main__":
    typer.run(main)
