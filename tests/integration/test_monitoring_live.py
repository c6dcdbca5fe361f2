"""The bundle over the running system: Prometheus scrapes every process, and each query finds what it asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest

from coordinator.distributed import DistributedBackfillCoordinator
from coordinator.protocol import BackfillRequest
from operations.monitoring.bundle import written
from operations.testing.processes import Process
from operations.testing.worlds import SeamlessWorld
from streams import GovernedProducer, Provider
from streams.clock import Deadline
from streams.health import Health, HealthServer
from tests.support.bars import good_bar
from tests.support.monitoring import alerts, bundle, dashboards, panels, recorded
from tests.support.progress import until
from tests.support.prometheus import Prometheus
from tests.support.promql import filled, selected
from tests.support.providing import minute_now
from tests.support.working import minute, source_of_bars

pytestmark = pytest.mark.kafka

SYMBOLS = ("AAA", "BBB", "CCC")
MINUTES_OF_HISTORY = 20_000
BEFORE_NOW = 2_000  # how many minutes ago the first live bar is of
PROCESSES = {
    "normalizer": ["normalize"],
    "worker": ["worker"],
    "archiver": ["archive", "run"],
    "sla-agent": ["sla-agent"],
    "alert-bridge": ["alert-bridge"],
}
SILENT = {
    # What begins when something goes wrong: nothing does here.
    "seamless_registry_wait",
    "seamless_sla_observations_dropped_total",
    "seamless_schema_validation_failures_total",
    "backfill_retry_total",
    "backfill_failure_total",
    "seamless_archive_refused_commits_total",
}


class Flow:
    """Rows, jobs and fetches, round after round, so that every process has something to count."""

    def __init__(self, world: SeamlessWorld, provider: Provider, source: str) -> None:
        self._settings, self._provider, self._source = world.settings, provider, source
        self._producer = GovernedProducer("bars", world.settings)
        self._coordinator = DistributedBackfillCoordinator(str(world.settings.coordinator_url))
        self._round, self.begins = 0, minute_now() - BEFORE_NOW

    def go_on(self) -> None:
        """One round: live rows of which some are bad, a job, and fetches of which some break their promise."""
        self._round += 1
        at = self.begins + self._round
        rows = [good_bar(symbol, at) for symbol in SYMBOLS]
        again = good_bar("AAA", at - 1)
        broken = good_bar("DDD", at, high=1.0)  # below its low
        self._producer.send(pl.DataFrame([*rows, again, broken]))
        self._producer.flush()
        first = 10 * self._round
        job = {"start": minute(first), "end": minute(first + 10), "dataset": "bars", "symbols": SYMBOLS}
        self._coordinator.request(BackfillRequest.model_validate({**job, "source": self._source}))
        promises = {
            "max_staleness": "1m",
            "min_coverage": 0.5,
            "max_wait_backfill": "1s",
            "on_violation": "partial_fill",
        }
        hurry = {"total_deadline": "1ms", "max_wait_storage": "1ms", "max_wait_backfill": "1ms", "max_wait_live": "1ms"}
        for policy in (promises, {**promises, **hurry, "retry_backoff": "1ms"}):
            self._provider.fetch("bars", "AAA", minute(at - 5), sla=policy)

    def close(self) -> None:
        self._producer.close()
        self._coordinator.close()


@contextmanager
def read_on(provider: Provider, begins: int) -> Iterator[None]:
    """Read a stream in a thread while the block runs."""
    stop = Event()

    def read() -> None:
        stream = provider.stream("bars", "AAA", minute(begins), sla={"min_coverage": 0.0}, fill=False, timeout=1.0)
        while not stop.is_set():
            for _ in stream:
                if stop.is_set():
                    break
        stream.close()

    thread = Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def served(process: Process) -> str:
    """Wait until a process says where its metrics are, and return that as host:port."""
    where = re.compile(r"metrics\W+http://(127\.0\.0\.1:\d+)")
    until(lambda: where.search(process.output()) is not None or not process.alive(), 60, "metrics", process.output)
    found = where.search(process.output())
    assert found is not None, process.output()
    return found[1]


def asked_for() -> set[str]:
    """Return every query of a panel and of a recording rule, and each series that an alert looks at."""
    shown = {
        filled(target["expr"], rate_interval="10s")
        for dashboard in dashboards()
        for panel in panels(dashboard)
        for target in panel["targets"]
    }
    looked_at = {each.text for rule in alerts() for each in selected(rule["expr"])}
    every = shown | {rule["record"] for rule in recorded()} | looked_at
    return {query for query in every if not {each.metric for each in selected(query)} <= SILENT}


@pytest.mark.timeout(400)
@pytest.mark.seamless_world(
    with_coordinator=True,
    datasets={
        "bars": {"contract": "ohlcv", "interval": "1m", "calendar": "24/7", "mode": "blocking", "source": "raw:"}
    },
    archive={"url": "archive", "commit_interval_s": 0.5, "maintain_interval_s": 1.0},
    producer={"on_violation": "warn"},
    quarantine={"max_share": 1.0},
    backfill={"chunk_rows": 5},
    alerting={"alertmanagers": ["http://127.0.0.1:9"], "resend_interval_s": 1.0},
)
def test_every_query_finds_data_while_the_system_works(
    seamless_world: SeamlessWorld, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    tool("prometheus")  # before anything is started, as the test may be skipped here
    world = seamless_world
    assert world.settings.coordinator_url is not None
    source = source_of_bars(tmp_path, list(SYMBOLS), MINUTES_OF_HISTORY)
    running = {name: world.run(*command) for name, command in PROCESSES.items()}
    with ExitStack() as held:
        provider = held.enter_context(Provider(world.settings, "alpha"))
        server = held.enter_context(HealthServer(world.settings.metrics, provider.metrics, Health()))
        targets = {f"seamless-{name}": served(process) for name, process in running.items()}
        targets["seamless-coordinator"] = str(world.settings.coordinator_url).removeprefix("http://").rstrip("/")
        targets["seamless-provider"] = str(server.url).removeprefix("http://")
        rules = [path for path in written(tmp_path / "bundle", bundle()) if path.suffix == ".yml"]
        prometheus = held.enter_context(Prometheus(tool, tmp_path / "prometheus", rules, targets))
        flow = Flow(world, provider, source)
        held.callback(flow.close)
        held.enter_context(read_on(provider, flow.begins))
        missing, deadline = asked_for(), Deadline(240)
        while missing and not deadline.passed():
            flow.go_on()
            missing = {query for query in missing if not prometheus.query(query)}
        assert not missing, "\n".join(sorted(missing))
        assert {rule["health"] for rule in prometheus.rules()} == {"ok"}, prometheus.rules()
        assert len(prometheus.query("up == 1")) == len(targets)
    assert all(process.alive() for process in running.values())
