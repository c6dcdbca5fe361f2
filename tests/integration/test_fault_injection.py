"""Fixtures that come with Seamless, used as a strategy's own tests would: in a run of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(540)]

ROOT = Path(__file__).parents[2]
BROKEN = '''
"""Tests that fail with everything broken; whoever comes next finds all of it whole."""

import threading

import pytest

from operations.testing.processes import Process
from streams.clock import Deadline
from streams.provider.calls import Target, Timeout
from streams.registry import Registry
from streams.topic_admin import TopicAdmin
from streams.topics import raw

START = Target.start
DATASETS = {"bars": {"contract": "ohlcv", "interval": "1m"}}
SEEN = []


@pytest.mark.seamless_world(datasets=DATASETS)
@pytest.mark.parametrize("how", ["broker_paused", "broker_killed"])
def test_that_fails(seamless_world, seamless_fault_injection, how):
    faults = seamless_fault_injection
    SEEN.append((seamless_world, seamless_world.run("normalize"), faults.random.random()))
    getattr(faults, how)()
    faults.registry_hidden("hang")
    faults.phase_delayed("storage_wait", 60.0)
    faults.source("files:none", hangs=True)
    pytest.fail("on purpose")


def test_all_is_whole_again_and_nothing_is_left(seamless_stack):
    assert Target.start is START
    assert len(SEEN) == 2 and SEEN[0][2] != SEEN[1][2]
    for world, process, _ in SEEN:
        assert not process.alive()
        deadline = Deadline(30)  # what the controller has deleted, the broker may show for a moment
        while TopicAdmin(world.settings.kafka).existing([raw(world.name, "bars")]):
            assert not deadline.passed(), world.name


@pytest.mark.seamless_world(datasets=DATASETS)
def test_a_delayed_phase_takes_longer_and_ends_with_the_fault(seamless_world, seamless_fault_injection):
    faults, storage, broker = seamless_fault_injection, Target("storage"), Target("broker")
    with faults.phase_delayed("storage_wait", 60.0) as fault:
        assert isinstance(storage.within(0.2, lambda: "rows"), Timeout)
        assert broker.within(5, lambda: "rows") == "rows"
        waiting = storage.start(lambda: "rows", 5)
        fault.end()
        assert waiting.wait(5) and waiting.result() == "rows"
    assert storage.within(5, lambda: "rows") == "rows"


@pytest.mark.seamless_world(datasets=DATASETS)
def test_a_registry_that_hangs_sets_whoever_waits_for_ever_free_and_fails(seamless_world, seamless_fault_injection):
    faults = seamless_fault_injection
    settings = seamless_world.settings.registry.model_copy(update={"timeout": 100.0})
    with pytest.raises(AssertionError, match="it went on for"):
        with Registry(settings) as registry, faults.registry_hidden("hang"):
            with faults.retries_end_before(1.0):
                try:
                    registry.subjects()
                except Exception:
                    pass
'''
FAILING = "test_that_fails"


def test_the_example_passes_and_faults_end_with_their_test_also_when_it_fails(tmp_path: Path) -> None:
    inner, report = tmp_path / "test_broken.py", tmp_path / "report.xml"
    inner.write_text(BROKEN, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "examples/test_strategy.py", str(inner), "-p", "no:cacheprovider"]
    # As no worker of this run, with a stack of its own that may be broken.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [*command, f"--junitxml={report}", f"--basetemp={tmp_path / 'run'}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {
        case.get("name"): case for case in cases if case.find("failure") is not None or case.find("error") is not None
    }
    assert set(failed) == {f"{FAILING}[broker_paused]", f"{FAILING}[broker_killed]"}, ran.stdout
    assert len(cases) == 6 + 5
    assert "the broker is paused" in ran.stdout  # what was done to it is told with the failure
    assert "on purpose" in ran.stdout
