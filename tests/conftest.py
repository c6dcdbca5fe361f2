"""What tests share: one embedded stack per run, a world per test, and the broker's log when a test fails."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import structlog
from confluent_kafka.admin import AdminClient

from operations.stack import EmbeddedStack
from operations.stack.filelock import exclusive

TAIL_LINES = 40
# A shell that runs a script in the background has its children ignore Ctrl-C, and theirs; tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
STARTED = pytest.StashKey[EmbeddedStack]()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A running Kafka and registry, shared by all tests of the run and by the workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    shared = EmbeddedStack(
        (base.parent if is_worker else base) / "stack",
        # Among workers, the one that starts the stack may end before the others are done with it.
        die_with_parent=not is_worker,
        # A fresh machine would record what speeds up later starts only to throw it away.
        train=not on_ci(),
        # Hundreds of worlds are ten thousand partitions and more. With the stack's own heap the broker was seen to
        # collect garbage for longer than its session, and to be fenced by its controller over and over.
        kafka_heap="1g",
        kafka_settings={"broker.session.timeout.ms": "30000"},
    )
    with running_while_used(shared):
        request.config.stash[STARTED] = shared
        yield shared


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[str]:
    """A world of this test's own, so that no test sees the topics of another."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).removeprefix("test-")
    name = f"{name[:30].strip('-')}-{uuid.uuid4().hex[:8]}"
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


def delete_topics(bootstrap_servers: str, world: str) -> None:
    """Delete a world's topics: with those of three hundred tests the broker's heap is full, and it answers nobody."""
    admin = _admin(bootstrap_servers)
    names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(f"{world}.")]
    if names:
        # Without time for it, the broker says yes and deletes nothing.
        for done in admin.delete_topics(names, operation_timeout=30, request_timeout=30).values():
            done.result()


@cache
def _admin(bootstrap_servers: str) -> AdminClient:
    # It outlives the stack, and would complain until the run is over.
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})


def on_ci() -> bool:
    """Return whether these tests run on CI."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


@contextmanager
def running_while_used(stack: EmbeddedStack) -> Iterator[None]:
    """Start the stack for the first user, and stop it after the last; users are processes of one test run.

    Each holds a shared lock, which the kernel takes back from one that crashes: who can make it exclusive is
    the last.
    """

    def turn() -> TimeoutError:
        return TimeoutError(f"another worker has been starting or stopping {stack.dir} for too long")

    turns = stack.dir.with_suffix(".turns")
    stack.dir.parent.mkdir(parents=True, exist_ok=True)
    with stack.dir.with_suffix(".users").open("a") as users:
        with exclusive(turns, wait_s=180, refusal=turn):
            fcntl.flock(users, fcntl.LOCK_SH)
            stack.start()
        try:
            yield
        finally:
            with exclusive(turns, wait_s=180, refusal=turn):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # others still use it
                else:
                    stack.stop()
