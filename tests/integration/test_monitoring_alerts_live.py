"""Each alert of the bundle over a running system: its fault makes it fire, Alertmanager tells of it, and of its end.

Times of the rules are short here (`tests.support.hastening`), and limits low; the expressions are those of the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from coordinator.distributed import DistributedBackfillCoordinator
from coordinator.protocol import BackfillRequest
from operations.monitoring.bundle import rendered
from operations.testing.faults import Fault, FaultInjection
from operations.testing.worlds import world_name
from streams import Provider, topics
from streams.archive.borders import borders_of
from streams.archive.layout import Source
from streams.archive.table import CommitRefused, DatasetTable, Move
from streams.clock import Deadline, now
from tests.support.alerting import Alertmanager, Webhook, listening
from tests.support.hastening import hastened
from tests.support.monitoring import alerts
from tests.support.plant import Plant, Rows
from tests.support.progress import until
from tests.support.prometheus import Prometheus
from tests.support.providing import minute_now
from tests.support.working import minute

pytestmark = pytest.mark.kafka

# By fault: the alerts that it makes fire. What stands behind a slash is the dataset that they must be of.
FAULTS: Mapping[str, tuple[str, ...]] = {
    "an exception that ends in three days": ("schema-exception-expiring/vendor",),
    "a feed that stands still": ("sla-staleness/ticker",),
    "a source that hangs": ("backfill-lease-stuck", "backfill-completion-stalled", "sla-coverage-low/bars"),
    "no worker": ("backfill-workers-down", "process-down"),
    "nothing else either": (
        "backfill-coordinator-down",
        "conformance-normalizer-down",
        "archive-archiver-down",
        "sla-agent-down",
        "sla-alerts-undelivered",
    ),
    "a source that is broken, and one that is tired": (
        "backfill-shards-failed/bars",
        "backfill-source-errors/bars",
    ),
    "a worker that is frozen until others have its shards": ("backfill-fenced-spike",),
    "storage that is slow": (
        "sla-deadline-p99/ticker",
        "sla-budget-burn-fast/ticker",
        "sla-budget-burn-slow/ticker",
    ),
    "storage that is away": ("archive-lag-growing/bars", "sla-provider-degraded/bars"),
    "a foreign program that writes the table": ("archive-commits-refused/vendor",),
    "more than can be read": ("conformance-lag-growing",),
    "a producer that leaves bars out": ("conformance-flag-spike/bars",),
    "a producer that sends nonsense": ("conformance-quarantine-growing/bars",),
    "a producer with a schema of its own": ("schema-violations", "conformance-dataset-stopped/drain"),
    "an exception that has ended": ("schema-exception-expired/vendor",),
    "a registry that is away": ("schema-registry-wait/vendor",),
    "a broker that stands still": ("conformance-commit-slow", "sla-observations-lost"),
}
# Alerts that are not seen from their beginning to their end here, and why.
NOT_HERE = {
    "sla-agent-lagging": "a flood of observations makes it fire within seconds, and is read for minutes",
}
CHANGES = """{
  objectives: {
    total_p99_seconds: 100,
    total_p99_seconds_of: { ticker: 2.2 },
    commit_p99_seconds: 1.5,
  },
  thresholds: {
    lag_records: 20, archive_lag_records: 100,
    fenced_chunks: 0, refused_commits: 0, source_retries: 0.5,
  },
}"""
EXCEPTION = """
[[exception]]
dataset = "vendor"
rule = "non_positive_price"
reason = "the vendor sends prices below nothing"
owner = "market-data"
approver = "risk"
expires = {last}
"""
SETTINGS: dict[str, Any] = {
    "archive": {"url": "archive", "commit_interval_s": 0.3, "commit_rows": 500, "maintain_interval_s": 0},
    "backfill": {"chunk_rows": 5, "slots": 8, "retries": 100, "retry_base_s": 0.05, "retry_max_s": 0.2},
    "conformance": {"exceptions": "exceptions.toml"},
    "coordinator": {"stalled_after_s": 2.0},
    # So slow that a burst waits, and so strict that one bad producer stops its dataset.
    "normalizer": {"max_batch_rows": 100},
    "quarantine": {"max_share": 0.7, "window_rows": 100},
}
BARS: dict[str, Any] = {"contract": "ohlcv", "interval": "1m", "calendar": "24/7", "mode": "blocking", "partitions": 2}
VENUE = {"name": "venue", "type": "string", "default": ""}
# What every process tells by itself once it works; an alert that it is gone can only be of what was there.
THERE = (
    'seamless_lag_records{topic=~".+[.]raw[.].+"}',
    'seamless_lag_records{topic=~".+[.]backfill[.]shards.*"}',
    "seamless_archive_lag_records",
    "seamless_sla_open_windows",
    "seamless_alert_post_age_seconds < 60",
    "backfill_jobs_in_progress",
)
OTHERS = ("coordinator", "normalizer", "archiver", "sla-agent", "alert-bridge")
WORKERS = ("worker", "second-worker")
ASKS: dict[str, Any] = {
    "max_staleness": 864_000.0,
    "min_coverage": 0.0,
    "max_wait_storage": "2s",
    "max_wait_backfill": "300ms",
    "max_wait_live": "2s",
    "total_deadline": "2s",
    "on_violation": "partial_fill",
}
HURRY = {key: "100ms" if value == "2s" else value for key, value in ASKS.items()} | {"max_wait_backfill": "100ms"}
FIRE_S, RESOLVE_S, SOON_S = 90.0, 120.0, 10.0
TRIES = 5


def test_every_alert_has_its_fault_or_a_reason_why_not() -> None:
    named = [f"seamless-{each.partition('/')[0]}" for every in FAULTS.values() for each in every]
    named += [f"seamless-{name}" for name in NOT_HERE]
    assert sorted(named) == sorted(rule["alert"] for rule in alerts())


class Scene:
    """The system with everybody who uses it; `go_on` is a moment of their day."""

    def __init__(
        self, plant: Plant, hook: Webhook, prometheus: Prometheus, trader: Provider, historian: Provider
    ) -> None:
        self.plant, self.faults, self._hook, self.prometheus = plant, plant.faults, hook, prometheus
        self.settings = plant.world.settings
        self.bars, self.vendor, self.ticker = (Rows(plant, name) for name in ("bars", "vendor", "ticker"))
        self.trader, self.historian = trader, historian
        self.coordinator = DistributedBackfillCoordinator(str(self.settings.coordinator_url))
        self.feeding, self.minute, self.newest = False, 100, 0
        self.extra: Callable[[], object] = lambda: None
        self.seen: set[str] = set()

    def go_on(self) -> Literal[False]:
        """Good rows of every dataset, and a fetch."""
        self.minute += 1
        self.bars.send("AAA", [self.minute])
        self.bars.send("BBB", [self.minute])
        self.vendor.send("VVV", [self.minute])
        if self.feeding and self.newest < minute_now():
            self.newest = minute_now()
            self.ticker.send("NOW", range(self.newest - 30, self.newest + 1))
        self.trader.fetch("ticker", "NOW", minute(minute_now() - 20), sla=ASKS, live=False)
        self.extra()
        return False

    def look_at_history(self) -> None:
        self.historian.fetch("bars", "HHH", minute(0), minute(20), sla=ASKS, live=False)

    def ask(self, symbol: str, source: str, minutes: int = 20, rows: int = 1_000) -> str:
        """Ask for bars from a source; return the job."""
        wanted = {"dataset": "bars", "symbols": (symbol,), "start": minute(0), "end": minute(minutes)}
        request = BackfillRequest.model_validate({**wanted, "source": source, "target_rows": rows})
        return self.coordinator.request(request).job.id

    def until(self, query: str) -> None:
        """Go on until a query finds something."""
        until(lambda: self.go_on() or bool(self.prometheus.query(query)), 60, query, self.told)

    def firing(self, alert: str) -> bool:
        """Whether the latest that Alertmanager has told of an alert is that it fires."""
        name, _, dataset = alert.partition("/")
        labels = {"alertname": f"seamless-{name}", **({"dataset": dataset} if dataset else {})}
        latest = {told["fingerprint"]: told["status"] for told in self._hook.alerts(**labels)}
        return "firing" in latest.values()

    def fires_soon(self, fault: str) -> bool:
        """Go on for a while; return whether each alert of a fault was told by then."""
        deadline = Deadline(SOON_S)
        while not all(self.firing(alert) for alert in FAULTS[fault]):
            if deadline.passed():
                return False
            self.go_on()
        return True

    def await_firing(self, fault: str) -> None:
        """Go on until every alert of a fault was told."""
        left = set(FAULTS[fault])
        self.seen.add(fault)
        deadline = Deadline(FIRE_S)
        while left := {alert for alert in left if not self.firing(alert)}:
            assert not deadline.passed(), f"{fault}: {left} do not fire\n{self.told()}"
            self.go_on()

    def await_resolved(self, *faults: str) -> None:
        """Go on until the end of every alert of faults was told."""
        every = [alert for fault in faults for alert in FAULTS[fault]]
        deadline = Deadline(RESOLVE_S)
        while left := [alert for alert in every if self.firing(alert)]:
            assert not deadline.passed(), f"{left} do not end\n{self.told()}"
            self.go_on()

    def told(self) -> str:
        """Return what everybody said."""
        lines = [f"{at:.1f} {a['status']} {json.dumps(a['labels'])}" for at, b in self._hook.calls for a in b["alerts"]]
        return "\n".join(lines) + self.plant.output()


def demote(scene: Scene) -> None:
    """Let the dataset that was stopped take any schema that fits, as its runbook says."""
    command = ["schema", "demote", "drain", "--to", "optional", "--reason", "incident"]
    assert scene.plant.world.run(*command).wait(60) == 0, scene.plant.output()


def exceptions(folder: Path, days: int) -> None:
    """Write the exception so that its last day is so many days from now."""
    folder.joinpath("exceptions.toml").write_text(EXCEPTION.format(last=now().date() + timedelta(days)), "utf-8")


@pytest.mark.timeout(500)
def test_alerts_fire_by_their_faults_and_end_with_them(
    seamless_fault_injection: FaultInjection, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in ("prometheus", "prometheus-alertmanager"):
        tool(name)  # before anything is started, as the test may be skipped here
    faults = seamless_fault_injection
    with ExitStack() as held:
        hook = held.enter_context(listening())
        alertmanager = held.enter_context(Alertmanager(tool, tmp_path / "alertmanager", hook))
        hanging = faults.source("test:20?batch=5", hangs=True)
        exceptions(tmp_path, 3)
        settings = {
            **SETTINGS,
            "alerting": {"alertmanagers": [alertmanager.url], "resend_interval_s": 1.0},
            "datasets": {
                "bars": {**BARS, "source": hanging.specification},
                "ticker": BARS,
                "vendor": BARS,
                "burst": {**BARS, "partitions": 1},
                "drain": {**BARS, "schema_mode": "strict"},
            },
        }
        plant = held.enter_context(Plant(faults, world_name("alerts"), tmp_path, settings))
        plant.start(*OTHERS, *WORKERS)
        trader, historian = plant.reader("trader"), plant.reader("historian")
        address = alertmanager.url.partition("//")[2]
        prometheus = held.enter_context(
            Prometheus(tool, tmp_path / "prometheus", rules(tmp_path), plant.targets, address)
        )
        scene = Scene(plant, hook, prometheus, trader, historian)
        held.callback(scene.coordinator.close)

        def whole() -> bool:
            scene.go_on()
            return all(prometheus.query(query) for query in THERE)

        until(whole, 90, "a whole system", plant.output)
        history_is_missing(scene)
        everybody_is_gone(scene, hanging, tmp_path)
        shards_go_wrong(scene)
        storage_goes_wrong(scene)
        too_much_comes(scene)
        producers_go_wrong(scene)
        registry_and_broker_go_wrong(scene)
        # The producer is asked to mend its schema, and the exception is given more time.
        exceptions(tmp_path, 30)
        demote(scene)
        plant.restart("normalizer")
        scene.await_resolved(*FAULTS)
        assert scene.seen == set(FAULTS)


def rules(folder: Path) -> list[Path]:
    """Write the rules of the bundle, with short times and low limits."""
    (folder / "changes.jsonnet").write_text(CHANGES, "utf-8")
    made = []
    for name, text in rendered(folder / "changes.jsonnet").items():
        if name.endswith(".yml"):
            made.append(folder / name.rpartition("/")[2])
            made[-1].write_text(hastened(text), "utf-8")
    return made


def history_is_missing(scene: Scene) -> None:
    scene.bars.send("GOOD", range(5_000))  # what a day is like
    scene.extra = scene.look_at_history
    scene.await_firing("an exception that ends in three days")
    scene.await_firing("a feed that stands still")
    scene.await_firing("a source that hangs")
    scene.feeding = True
    scene.await_resolved("a feed that stands still")


def everybody_is_gone(scene: Scene, hanging: Fault, folder: Path) -> None:
    """While a job waits; on the way the exception ends, as its last day is over when the normalizer starts again."""
    plant = scene.plant
    plant.kill(*WORKERS)
    scene.await_firing("no worker")
    plant.kill(*OTHERS)
    scene.await_firing("nothing else either")
    hanging.end()
    exceptions(folder, -1)
    plant.start(*OTHERS, *WORKERS)
    scene.await_resolved("no worker", "nothing else either", "a source that hangs")
    scene.extra = lambda: None
    scene.await_resolved("an exception that ends in three days")


def shards_go_wrong(scene: Scene) -> None:
    plant, faults = scene.plant, scene.faults
    scene.ask("BROKEN", faults.source("test:20", broken="no such symbol").specification)
    tired = faults.source("test:20", fails=1_000_000)
    scene.ask("TIRED", tired.specification)
    scene.await_firing("a source that is broken, and one that is tired")
    tired.end()
    many = scene.ask("MANY", "test:100000?batch=5&pace=0.01", 100_000, 10_000)
    frozen, other = (plant.targets[f"seamless-{name}"] for name in WORKERS)
    fault, moved = (
        "a worker that is frozen until others have its shards",
        f'backfill_lease_moves_total{{instance="{other}"}}',
    )
    # Which of both it learns first when it wakes up is chance: that its lease is gone, or that a chunk is refused.
    for _ in range(TRIES):
        scene.until(f'rate(backfill_rows_total{{instance="{frozen}"}}[4s]) > 0')
        [before] = [each["value"][1] for each in scene.prometheus.query(moved)]
        plant.suspend("worker")
        scene.until(f"{moved} > {before}")
        plant.resume("worker")
        if scene.fires_soon(fault):
            break
    scene.await_firing(fault)
    scene.coordinator.cancel(many)


def storage_goes_wrong(scene: Scene) -> None:
    with scene.faults.phase_delayed("storage_wait", 4.0):
        scene.await_firing("storage that is slow")

    def more() -> None:
        scene.bars.send("CCC", range(scene.minute * 200, scene.minute * 200 + 200))
        scene.look_at_history()

    with scene.plant.archive_away("bars"):
        scene.extra = more
        scene.await_firing("storage that is away")
    scene.extra = lambda: None
    table = DatasetTable(scene.settings, "vendor")
    sources = [Source(topics.normalized(scene.settings.world, "vendor"), n) for n in range(BARS["partitions"])]

    def take_first() -> None:
        """Move the table on, as if the rows that an archiver has in memory were of no account."""
        snapshot = table.load()
        assert snapshot is not None
        ends, places = borders_of(scene.settings, sources, stable=True), snapshot.positions(sources)
        moves = {s: Move(places[s], ends[s].end) for s in places if ends[s].end > places[s]}
        if moves:
            with suppress(CommitRefused):
                snapshot.commit(None, moves)

    scene.extra = take_first
    scene.await_firing("a foreign program that writes the table")
    scene.extra = lambda: None


def too_much_comes(scene: Scene) -> None:
    burst = Rows(scene.plant, "burst")

    def flood() -> None:
        burst.repeat("AAA", 1, 2_000)
        burst.flush()

    scene.extra = flood
    scene.await_firing("more than can be read")
    scene.extra = lambda: None


def producers_go_wrong(scene: Scene) -> None:
    strange = Rows(scene.plant, "drain", f"{scene.settings.world}-strange-value", VENUE)

    def err() -> None:
        at = 10 * scene.minute
        scene.bars.send("GAP", [at], price=50.0)
        scene.bars.send("BAD", [at], high=1.0)
        scene.vendor.send("BAD", [at], price=-1.0, high=-1.0, low=-1.0, close=-1.0)
        strange.send("SSS", range(at, at + 5))

    scene.extra = err
    for fault in (
        "a producer that leaves bars out",
        "a producer that sends nonsense",
        "a producer with a schema of its own",
        "an exception that has ended",
    ):
        scene.await_firing(fault)
    scene.extra = lambda: None


def registry_and_broker_go_wrong(scene: Scene) -> None:
    evolved = Rows(scene.plant, "vendor", None, VENUE)
    with scene.faults.registry_hidden():
        evolved.send("WWW", [1], venue="X")
        evolved.flush()
        scene.await_firing("a registry that is away")
    scene.await_resolved("a registry that is away")
    fault = "a broker that stands still"
    for _ in range(TRIES):
        visitor = Provider(scene.settings, "visitor", metrics=scene.trader.metrics)
        visitor.fetch("ticker", "NOW", minute(0), minute(1), sla=ASKS, live=False)  # knows the broker
        scene.go_on()
        with scene.faults.broker_paused():
            visitor.fetch("ticker", "NOW", minute(0), minute(1), sla=HURRY, live=False)
            visitor.close()  # which takes its two seconds, and what was not told by then is lost
        if scene.fires_soon(fault):
            break
    scene.await_firing(fault)
