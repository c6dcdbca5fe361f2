"""Processes of a test: what they find installed, and what their metrics say."""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path

from operations.testing.processes import SEAMLESS, Process, running

__all__ = ["SEAMLESS", "WITH_TEST_SOURCES", "Process", "asked", "metric_of", "metrics_of", "running"]

WITH_TEST_SOURCES = {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "plugins"), str(Path(__file__).parents[2])])
}
"""Environment in which `test:` sources are installed; see `plugins/seamless_test_sources.py`."""


def metrics_of(process: Process) -> str:
    """Return what `/metrics` of a process says, at the address that it has logged."""
    return asked(process, "/metrics")


def asked(process: Process, path: str) -> str:
    """Return what a process answers at a path, such as `/healthz`."""
    found = re.search(r"metrics\W+(http://127\.0\.0\.1:\d+)", process.output())
    assert found is not None, process.output()
    with urllib.request.urlopen(found[1] + path, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def metric_of(process: Process, name: str) -> float:
    """Return the sum of a metric's series; 0 if there is none."""
    lines = metrics_of(process).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))
