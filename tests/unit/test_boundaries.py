"""Who may import what, who may read a clock, and how long a module may be: the architecture as a test."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "streams", "coordinator", "operations")
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))

# Libraries that few may touch, and who these are. An adapter that needs one is added here on purpose.
MAY_IMPORT = {
    "confluent_kafka": {
        "coordinator/claims_seen.py",
        "coordinator/epoch_probe.py",
        "coordinator/feed.py",
        "coordinator/ledger.py",
        "coordinator/lease_events.py",
        "coordinator/lease_writer.py",
        "coordinator/members.py",
        "coordinator/openings.py",
        "coordinator/queue_consumer.py",
        "coordinator/queue_offsets.py",
        "coordinator/sources/raw.py",
        "coordinator/topic_reader.py",
        "coordinator/worker.py",
        "coordinator/worker_orders.py",
        "coordinator/written.py",
        "operations/stack/probe.py",
        "operations/testing/shared_stack.py",
        "streams/archive/borders.py",
        "streams/archive/consumer.py",
        "streams/delivery.py",
        "streams/demo/faults.py",
        "streams/doctor/broker.py",
        "streams/normalizer.py",
        "streams/offsets.py",
        "streams/operating/feed.py",
        "streams/partition_reader.py",
        "streams/policy_feed.py",
        "streams/provider/live_reader.py",
        "streams/provider/observation_writer.py",
        "streams/provider/tail.py",
        "streams/quarantine_store.py",
        "streams/quarantined.py",
        "streams/raw_batch.py",
        "streams/registry.py",
        "streams/seeking.py",
        "streams/sla/missing.py",
        "streams/sla/store.py",
        "streams/sla/voice.py",
        "streams/start_offsets.py",
        "streams/state_store.py",
        "streams/topic_admin.py",
        "streams/transactions.py",
    },
    "deltalake": {"streams/archive/rewriting.py", "streams/archive/table.py"},
    "prometheus_client": {"streams/metrics.py"},
    "pyruhvro": {"schemas/codec_columnar.py"},
    "fastavro": {"schemas/codec_reference.py", "schemas/contract_checks.py"},
    "faust": {"streams/sla/carrier.py", "streams/sla/carrier_auth.py"},
    "fastapi": {
        "coordinator/service/app.py",
        "coordinator/service/job_routes.py",
        "coordinator/service/problems.py",
        "coordinator/service/process_routes.py",
        "coordinator/service/shard_routes.py",
    },
}
READS_A_CLOCK = {"streams/clock.py"}
CLOCKS = {
    ("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("time", "monotonic_ns"), ("time", "perf_counter"),
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
}  # fmt: skip
LONG_FOR_A_REASON = {
    "streams/topics.py": "the one table of every topic",
    "streams/normalizer.py": "one thread's loop, its commit and its group's callbacks are one protocol",
}
LINES = 350


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return the nodes that the tests look at: walking through all of a module takes long."""
    every = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(node for node in every if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute))


@cache
def imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return frozenset(found)


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_only_its_adapters_import_a_client_library(library: str) -> None:
    users = {name_of(p) for p in MODULES if any(i.split(".")[0] == library for i in imports(p))}
    assert users <= MAY_IMPORT[library], f"{library} is imported where it must not be: {users - MAY_IMPORT[library]}"


def test_schemas_import_nothing_else_of_ours_and_no_network() -> None:
    forbidden = {"streams", "coordinator", "operations", "httpx", "requests", "socket", "confluent_kafka"}
    for path in MODULES:
        if name_of(path).startswith("schemas/"):
            found = {i for i in imports(path) if i.split(".")[0] in forbidden}
            assert not found, f"{name_of(path)} imports {found}"


def test_the_stack_knows_of_the_product_only_its_clock_and_its_errors() -> None:
    allowed = {"streams.clock", "streams.errors"}
    for path in MODULES:
        if name_of(path).startswith("operations/stack/"):
            found = {i for i in imports(path) if i.split(".")[0] in {"streams", "schemas", "coordinator"}} - allowed
            assert not found, f"{name_of(path)} imports {found}"


def test_only_the_clock_reads_the_clock() -> None:
    for path in MODULES:
        if name_of(path) in READS_A_CLOCK:
            continue
        for node in nodes_of(path):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in CLOCKS, f"{name_of(path)}:{node.lineno} reads a clock"
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                names = {alias.name for alias in node.names}
                assert names <= {"sleep"}, f"{name_of(path)} imports {names} from time"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_one_job_and_a_few_screens(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES or name_of(path) in LONG_FOR_A_REASON, f"{lines} lines: split it, or say why it is long"


def test_nothing_is_called_utils() -> None:
    assert not [name_of(p) for p in MODULES if p.stem in {"utils", "util", "helpers", "common", "misc"}]
