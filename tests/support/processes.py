"""Processes of a test: started as a user would, killed as fate would, and gone when the test ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from operations.stack import guard

SEAMLESS = Path(sys.executable).parent / "seamless"
WITH_TEST_SOURCES = {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "plugins"), str(Path(__file__).parents[2])])
}
"""Environment in which `test:` sources are installed; see `plugins/seamless_test_sources.py`."""


class Process:
    """A `seamless` command in the background; its output goes to a file that failures show."""

    def __init__(self, arguments: list[str], log: Path, environ: dict[str, str] | None = None) -> None:
        self.log = log
        self._out: IO[bytes] = log.open("ab")
        # Without the width of a terminal, which workers of pytest-xdist have and other runs have not.
        inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        self._process = subprocess.Popen(
            [str(SEAMLESS), *arguments],
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=inherited | (environ or {}),
        )
        # Ends the process also when the test run itself is killed.
        self._guard = subprocess.Popen([sys.executable, guard.__file__, str(os.getpid()), str(self.pid)])

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        self._ended(30)

    def terminate(self, seconds: float = 30.0) -> int:
        """Ask it to end and return its exit code."""
        self.signal(signal.SIGTERM)
        return self._ended(seconds)

    def wait(self, seconds: float) -> int:
        """Wait until it ends by itself and return its exit code."""
        return self._ended(seconds)

    def _ended(self, seconds: float) -> int:
        code = self._process.wait(seconds)
        self._guard.wait(10)
        self._out.close()
        return code

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def metrics_of(process: Process) -> str:
    """Return what `/metrics` of a process says, at the address that it has logged."""
    found = re.search(r"http://127\.0\.0\.1:\d+", process.output())
    assert found is not None, process.output()
    with urllib.request.urlopen(found.group() + "/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def metric_of(process: Process, name: str) -> float:
    """Return the sum of a metric's series; 0 if there is none."""
    lines = metrics_of(process).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))


@contextmanager
def running(arguments: list[str], log: Path, environ: dict[str, str] | None = None) -> Iterator[Process]:
    """Run a command while the block runs."""
    process = Process(arguments, log, environ)
    try:
        yield process
    finally:
        if process.alive():
            process.kill()
