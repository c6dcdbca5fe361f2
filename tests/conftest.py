"""What tests share: one embedded stack per run, a world per test, and the broker's log when a test fails."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from operations.stack import EmbeddedStack
from operations.testing.shared_stack import delete_topics
from operations.testing.worlds import world_name

TAIL_LINES = 40
# A shell that runs a script in the background has its children ignore Ctrl-C, and theirs; tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
STARTED = pytest.StashKey[EmbeddedStack]()


@pytest.fixture(scope="session")
def seamless_stack_options() -> dict[str, Any]:
    """How the stack of all tests is run."""
    return {
        # A fresh machine would record what speeds up later starts only to throw it away.
        "train": not on_ci(),
        # Hundreds of worlds are ten thousand partitions and more. With the stack's own heap the broker was seen to
        # collect garbage for longer than its session, and to be fenced by its controller over and over.
        "kafka_heap": "1g",
        "kafka_settings": {
            "broker.session.timeout.ms": "30000",
            # What a test grants to others, it takes from itself; all else is allowed, as without an authorizer.
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        },
    }


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, seamless_stack: EmbeddedStack) -> EmbeddedStack:
    """A running Kafka and registry, shared by all tests of the run and by the workers of pytest-xdist."""
    request.config.stash[STARTED] = seamless_stack
    return seamless_stack


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[str]:
    """A world of this test's own, so that no test sees the topics of another."""
    name = world_name(request.node.name)
    yield name
    started = request.config.stash.get(STARTED, None)
    if started is not None:
        delete_topics(started.bootstrap_servers, name)


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Take back what a test does to logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("seamless").setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """Find a program on PATH; without it a test is skipped, but on CI, where nobody reads skips, it fails."""

    def find(name: str) -> Path:
        found = shutil.which(name)
        if found is None:
            (pytest.fail if on_ci() else pytest.skip)(f"{name} is not installed")
        return Path(found)

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the broker's log with a failure of a test that uses Kafka."""
    report = yield
    started = item.config.stash.get(STARTED, None)
    if report.failed and started is not None and item.get_closest_marker("kafka") is not None:
        report.sections.append(("end of the broker's log", started.broker_log_tail(TAIL_LINES)))
    return report


def on_ci() -> bool:
    """Return whether these tests run on CI."""
    return os.environ.get("CI", "").lower() in {"1", "true"}
