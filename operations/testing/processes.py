"""Processes of a test: started as a user would, killed as fate would, and gone when the test ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from operations.stack import guard
from streams.settings_sources import is_setting

__all__ = ["SEAMLESS", "Process", "environment", "running"]

SEAMLESS: Final = Path(sys.executable).parent / "seamless"


class Process:
    """A `seamless` command in the background; its output goes to a file that failures show."""

    def __init__(self, arguments: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._out: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            [str(SEAMLESS), *arguments],
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment(environ),
        )
        # Ends the process also when the test run itself is killed.
        self._guard = subprocess.Popen([sys.executable, guard.__file__, str(os.getpid()), str(self.pid)])

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
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

    def output(self) -> str:
        """What it has said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _ended(self, seconds: float) -> int:
        code = self._process.wait(seconds)
        self._guard.wait(10)
        self._out.close()
        return code


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a test's process: what is given, and of those around what does not change what it does.

    Left out are settings, which go before those of a file and may mean a system that is no test's, and the width of a
    terminal, which workers of pytest-xdist have and other runs have not.
    """
    around = os.environ.items()
    kept = {name: text for name, text in around if name not in {"COLUMNS", "LINES"} and not is_setting(name, text)}
    return {**kept, **(environ or {})}


@contextmanager
def running(arguments: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run a command while the block runs."""
    process = Process(arguments, log, environ)
    try:
        yield process
    finally:
        if process.alive():
            process.kill()
