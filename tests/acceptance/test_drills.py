"""Recovery, rehearsed: the fault of a runbook, its commands typed as they stand there, and its word that it is over."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.distributed import DistributedBackfillCoordinator
from coordinator.protocol import BackfillRequest
from operations.testing.faults import FaultInjection
from operations.testing.processes import SEAMLESS, environment
from operations.testing.worlds import world_name
from streams.clock import now
from tests.support.alerting import Alertmanager, Webhook, listening
from tests.support.guides import Shell
from tests.support.plant import Plant, Rows
from tests.support.progress import until
from tests.support.rehearsing import Rehearsal
from tests.support.working import minute

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
DATASET = "ohlcv.us.1d"  # that of the runbooks
PROCESSES = ("coordinator", "normalizer", "worker", "archiver", "sla-agent", "alert-bridge")
SETTINGS: dict[str, Any] = {
    "archive": {"url": "archive", "commit_interval_s": 0.5},
    "backfill": {"chunk_rows": 5},
    "conformance": {"exceptions": "exceptions.toml"},
    "coordinator": {"stalled_after_s": 2.0},
    "datasets": {
        DATASET: {"contract": "ohlcv", "interval": "1m", "calendar": "24/7", "mode": "blocking", "partitions": 2}
    },
    "sla": {"objectives": {"deadline": {"kind": "quantile", "limit": "1s", "window": "4s"}}},
}
EXCEPTION = """
[[exception]]
dataset = "{dataset}"
rule = "non_positive_price"
reason = "the vendor sends prices below nothing"
owner = "market-data"
approver = "risk"
expires = {last}
"""
BELOW_NOTHING = {"price": -1.0, "high": -1.0, "low": -1.0, "close": -1.0}
VENUE = {"name": "venue", "type": "string", "default": ""}
ASKS: dict[str, Any] = {
    "max_staleness": "forever",
    "min_coverage": 0.0,
    "max_wait_storage": "2s",
    "max_wait_live": "2s",
    "max_wait_backfill": "1s",
    "total_deadline": "5s",
    "on_violation": "partial_fill",
}


def metric(plant: Plant, process: str, name: str) -> float | None:
    """Return the sum of a metric's series, as a process tells it; None if it tells of none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{plant.ports[process]}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return None
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[ {{]", line)]
    return sum(found) if found else None


@pytest.mark.timeout(450)
def test_the_faults_of_runbooks_are_mended_by_their_commands(
    seamless_fault_injection: FaultInjection, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    faults = seamless_fault_injection
    with ExitStack() as held:
        hook = held.enter_context(listening())
        alertmanager = held.enter_context(Alertmanager(tool, tmp_path / "alertmanager", hook))
        (tmp_path / "scripts").symlink_to(ROOT / "scripts")
        (tmp_path / "exceptions.toml").touch()
        settings = {**SETTINGS, "alerting": {"alertmanagers": [alertmanager.url], "resend_interval_s": 1.0}}
        plant = held.enter_context(Plant(faults, world_name("drills"), tmp_path, settings))
        plant.start(*PROCESSES)
        plain = {"COLUMNS": "200", "PATH": f"{SEAMLESS.parent}{os.pathsep}{os.environ['PATH']}"}
        around = {"SEAMLESS_STACK_DIR": str(faults.stack.dir), "PYTHONPATH": plant.python_path}
        shell = held.enter_context(Shell(tmp_path, environment({**plain, **around})))
        rows = Rows(plant, DATASET)
        rows.send("AAA", range(20))
        until(lambda: (metric(plant, "normalizer", "seamless_rows_out_total") or 0) == 20, 90, "rows", plant.output)

        a_stuck_lease(plant, shell)
        rows_in_quarantine(plant, shell, rows, tmp_path)
        nobody_tells_of_breaches(plant, shell, hook)
        no_coordinator(plant, shell)
        no_registry(plant, shell)
        no_broker(plant, shell, rows)


def a_stuck_lease(plant: Plant, shell: Shell) -> None:
    # A vendor who fails, and wants to be left alone for long.
    source = plant.faults.source("test:20?batch=5", fails=1_000, retry_after=600.0)
    coordinator = DistributedBackfillCoordinator(str(plant.world.settings.coordinator_url))
    wanted = {"dataset": DATASET, "symbols": ("HHH",), "start": minute(0), "end": minute(20)}
    job = coordinator.request(BackfillRequest.model_validate({**wanted, "source": source.specification})).job
    until(lambda: metric(plant, "coordinator", "backfill_stalled_leases") == 1, 60, "a stuck lease", plant.output)
    with Rehearsal(shell, "seamless-backfill-lease-stuck") as page:
        listed = page.run("python scripts/lease_recover.py list")
        found = re.search(r"(\d+) +(shard-\w+) ", listed)
        assert found is not None, listed
        partition, shard = found.groups()
        assert shard in page.run("seamless backfill explain SHARD", SHARD=shard)
        page.run("python scripts/lease_recover.py release PARTITION --yes", PARTITION=partition)
        # Another claim, and the vendor is as before.
        until(lambda: coordinator.shard(shard).attempt == 2, 30, "another claim", plant.output)
        page.run("python scripts/lease_recover.py skip SHARD --yes", SHARD=shard)
        source.end()
        page.run("python scripts/lease_recover.py retry SHARD --yes", SHARD=shard)
        until(lambda: coordinator.job(job.id).state == "done", 60, "the job", plant.output)
        assert coordinator.job(job.id).rows == 20
        until(lambda: metric(plant, "coordinator", "backfill_stalled_leases") == 0, 30, "no stuck lease")
    coordinator.close()


def rows_in_quarantine(plant: Plant, shell: Shell, rows: Rows, folder: Path) -> None:
    def quarantined() -> float | None:
        return metric(plant, "normalizer", "seamless_rows_quarantined_total")

    rows.send("AAA", [20, 21], **BELOW_NOTHING)
    rows.send("AAA", [22], high=1.0)
    until(lambda: quarantined() == 3, 60, "rows in quarantine", plant.output)
    replay = f"seamless quarantine replay {DATASET} --all"
    with Rehearsal(shell, "seamless-conformance-quarantine-growing") as page:
        listed = page.run(f"seamless quarantine list {DATASET} --limit 20")
        places = re.findall(r"^(\d+:\d+) ", listed, re.M)
        assert len(places) == 3, listed
        names = {"PARTITION:OFFSET": places[0]}
        assert "non_positive_price" in page.run(f"seamless quarantine show {DATASET} PARTITION:OFFSET", **names)
        last = now().date() + timedelta(days=30)
        (folder / "exceptions.toml").write_text(EXCEPTION.format(dataset=DATASET, last=last), "utf-8")
        plant.restart("normalizer")
        assert "3" in page.run(f"{replay} --dry-run")
        page.run(replay)
        until(
            lambda: (metric(plant, "normalizer", "seamless_rows_out_total"), quarantined()) == (2, 1),
            60,
            "replayed rows, and the one that is wrong for good",
            plant.output,
        )
        page.run(f"seamless quarantine dismiss {DATASET} --all --why vendor-error")
        assert re.findall(r"^\d+:\d+ ", page.run(f"seamless quarantine list {DATASET} --limit 20"), re.M) == []
        assert quarantined() == 1


def nobody_tells_of_breaches(plant: Plant, shell: Shell, hook: Webhook) -> None:
    plant.kill("alert-bridge")
    with Rehearsal(shell, "seamless-sla-alerts-undelivered") as page:
        page.run("seamless sla status")
        page.run("seamless alert-bridge &")
        page.run("seamless config show")
        page.run(f"python scripts/inject_sla_violation.py deadline --dataset {DATASET} --yes")
        assert hook.await_alert("firing", objective="deadline")["labels"]["synthetic"] == "true"
        hook.await_alert("resolved", objective="deadline", seconds=60)


def no_coordinator(plant: Plant, shell: Shell) -> None:
    plant.kill("coordinator")
    with Rehearsal(shell, "seamless-backfill-coordinator-down") as page:
        assert "coordinator" in page.run("seamless doctor", exits=1)
        page.run("seamless coordinator &")
        jobs = "backfill_jobs_in_progress"
        until(lambda: metric(plant, "coordinator", jobs) == 0, 60, "a coordinator", plant.output)


def no_registry(plant: Plant, shell: Shell) -> None:
    def waits() -> float | None:
        return metric(plant, "normalizer", "seamless_registry_wait")

    evolved = Rows(plant, DATASET, None, VENUE)
    before = metric(plant, "normalizer", "seamless_rows_out_total") or 0
    plant.faults.stack.kill_registry()
    evolved.send("BBB", range(5), venue="X")
    until(lambda: waits() == 1, 60, "rows that wait", plant.output)
    with Rehearsal(shell, "seamless-schema-registry-wait") as page:
        assert "registry" in page.run("seamless doctor", exits=1)
        page.run("seamless schema check", exits=2)
        page.run("seamless up")
        until(lambda: waits() == 0, 60, "the end of the wait", plant.output)
        page.run("seamless schema export schemas.json")
        page.run("seamless schema import schemas.json --reason incident")

        def replayed() -> bool:
            page.run(f"seamless quarantine replay {DATASET} --reason unknown_schema")
            return metric(plant, "normalizer", "seamless_rows_out_total") == before + 5

        until(replayed, 90, "the rows that waited", plant.output)


def no_broker(plant: Plant, shell: Shell, rows: Rows) -> None:
    reader = plant.reader("alpha")

    def degraded() -> bool:
        return "broker" in reader.fetch(DATASET, "AAA", minute(0), minute(25), sla=ASKS, live=True).degraded

    assert not degraded()
    plant.faults.stack.kill_broker()
    assert degraded()
    with Rehearsal(shell, "seamless-sla-provider-degraded", "seamless coordinator &") as page:
        assert "broker" in page.run("seamless doctor", exits=1)
        page.run("seamless up")
        until(lambda: not degraded(), 60, "a whole fetch", plant.output)
        page.run("seamless archive info")
        before = metric(plant, "normalizer", "seamless_rows_out_total") or 0
        rows.send("AAA", range(25, 30))
        out = "seamless_rows_out_total"
        until(lambda: metric(plant, "normalizer", out) == before + 5, 90, "rows that flow again", plant.output)
        assert not degraded()
