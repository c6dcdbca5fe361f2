"""Fixtures for tests of what is built on Seamless; pytest loads this module by itself wherever Seamless is installed.

So it imports nothing but pytest: the rest, which takes a second, is loaded by the first test that asks for it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from operations.stack import EmbeddedStack
    from operations.testing.faults import FaultInjection
    from operations.testing.worlds import SeamlessWorld

__all__ = [
    "CONFIG",
    "GROUPS",
    "REPORT",
    "pytest_addoption",
    "pytest_configure",
    "seamless_fault_injection",
    "seamless_own_stack",
    "seamless_stack",
    "seamless_stack_options",
    "seamless_world",
]

CONFIG = "seamless_config"
GROUPS = "seamless_groups"
REPORT = "--seamless-report"
_COORDINATOR_S = 30.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings, and the option that asks for a report."""
    parser.addini(CONFIG, "settings that each seamless_world begins with; a path relative to pytest's root", default="")
    parser.addini(GROUPS, "which tests are of which group of --seamless-report", type="linelist", default=[])
    parser.addoption(
        REPORT, type=Path, metavar="PATH", help="write what tests said, by group, as `seamless ready` asks for it"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Explain the marks, and write a report if one is asked for."""
    config.addinivalue_line(
        "markers",
        "seamless_world(with_coordinator=False, **sections): settings of the test's world that differ from "
        "seamless_config, nested like seamless.toml, and whether it has a coordinator service",
    )
    config.addinivalue_line("markers", "seamless_faults(seed): what chance follows from in seamless_fault_injection")
    config.addinivalue_line(
        "markers", "seamless_group(name): regression, fault_injection or observability, for --seamless-report"
    )
    path = config.getoption(REPORT)
    if path is None:
        return
    from operations.testing.report import Grouping, ReportWriter

    grouping = Grouping(config.getini(GROUPS))
    config.pluginmanager.register(grouping, "seamless-grouping")
    if not hasattr(config, "workerinput"):  # of workers of pytest-xdist the controller counts
        config.pluginmanager.register(ReportWriter(config, path.absolute(), grouping), "seamless-report")


@pytest.fixture(scope="session")
def seamless_stack_options() -> dict[str, Any]:
    """Arguments of the embedded stack; override it to give others."""
    return {}


@pytest.fixture(scope="session")
def seamless_stack(
    tmp_path_factory: pytest.TempPathFactory, seamless_stack_options: dict[str, Any]
) -> Iterator[EmbeddedStack]:
    """A running Kafka and registry, shared by all tests of the run and by the workers of pytest-xdist."""
    from operations.stack import EmbeddedStack
    from operations.testing.shared_stack import running_while_used

    base = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    # Among workers, the one that starts the stack may end before the others are done with it.
    options = {"die_with_parent": not is_worker, **seamless_stack_options}
    shared = EmbeddedStack((base.parent if is_worker else base) / "stack", **options)
    with running_while_used(shared):
        yield shared


@pytest.fixture(scope="session")
def seamless_own_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, seamless_stack_options: dict[str, Any]
) -> Iterator[EmbeddedStack]:
    """A stack that may be broken: that of the run, but a worker of pytest-xdist has one of its own."""
    from operations.stack import EmbeddedStack

    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield request.getfixturevalue("seamless_stack")
        return
    options = {"die_with_parent": True, **seamless_stack_options}
    with EmbeddedStack(tmp_path_factory.getbasetemp() / "own-stack", **options) as own:
        yield own


@pytest.fixture
def seamless_fault_injection(
    request: pytest.FixtureRequest, seamless_own_stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultInjection]:
    """Faults in the test's world, which are in force when asked for, and over when the test is."""
    from operations.testing.faults import FaultInjection
    from operations.testing.ports import free_port

    faults = request.node.get_closest_marker("seamless_faults")
    seed = faults.kwargs["seed"] if faults is not None else zlib.crc32(request.node.nodeid.encode())
    request.node.add_report_section("call", "faults", f"seed {seed}")

    with FaultInjection(
        seamless_own_stack,
        tmp_path_factory.mktemp("faults"),
        seed=seed,
        coordinator_port=free_port() if _with_coordinator(request) else None,
        tell=lambda line: request.node.add_report_section("call", "faults", line),
    ) as injection:
        yield injection


@pytest.fixture
def seamless_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeamlessWorld]:
    """A world of the test's own: settings, topics and schemas, and processes with `run`; gone when the test is over."""
    from operations.testing.ports import await_answer, free_port
    from operations.testing.worlds import SeamlessWorld, settings_of, world_name

    faults: FaultInjection | None = None
    if "seamless_fault_injection" in request.fixturenames:
        faults = request.getfixturevalue("seamless_fault_injection")
    stack: EmbeddedStack = faults.stack if faults is not None else request.getfixturevalue("seamless_stack")
    marker = request.node.get_closest_marker("seamless_world")
    sections = {k: v for k, v in (marker.kwargs if marker is not None else {}).items() if k != "with_coordinator"}
    values: dict[str, Any] = {
        "metrics": {"host": "127.0.0.1", "port": 0},
        **sections,
        "world": world_name(request.node.name),
        "kafka": {**sections.get("kafka", {}), "bootstrap_servers": stack.bootstrap_servers},
        "registry": {**sections.get("registry", {}), "url": faults.registry_url() if faults else stack.registry_url},
        "coordinator_url": None,
    }
    environ = {"PYTHONPATH": os.pathsep.join([*faults.paths(), *_python_path()])} if faults is not None else {}
    port = None
    if _with_coordinator(request):
        proxy = faults.coordinator if faults is not None else None
        port = proxy.target_port if proxy is not None else free_port()
        values["coordinator"] = {**sections.get("coordinator", {}), "host": "127.0.0.1", "port": port}
        values["coordinator_url"] = proxy.url if proxy is not None else f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("world")
    with SeamlessWorld(stack, settings_of(_base(request), values, folder), environ) as world:
        if port is not None:
            coordinator = world.run("coordinator")
            await_answer(f"http://127.0.0.1:{port}/readyz", _COORDINATOR_S, coordinator)
        yield world
        if faults is not None:
            faults.heal()  # or there may be no broker to delete the topics


def _with_coordinator(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("seamless_world")
    return marker is not None and bool(marker.kwargs.get("with_coordinator"))


def _base(request: pytest.FixtureRequest) -> Path | None:
    named = request.config.getini(CONFIG)
    return request.config.rootpath / named if named else None


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
