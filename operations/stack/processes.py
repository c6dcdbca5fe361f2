"""Start, recognise and end operating system processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import psutil

from streams.clock import Deadline

__all__ = ["ProcessRef", "spawn", "tail"]

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.02

# Our own children, by pid: whoever ends one must also reap it, or it stays a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """A process that can be recognised later: a pid alone may have been given to another one since."""

    pid: int
    created: float
    """The process's start as psutil tells it: seconds since the Unix epoch."""

    def alive(self) -> bool:
        """Return whether that very process still runs."""
        return self._process() is not None

    def resident_bytes(self) -> int | None:
        """Return its memory, or None if it is gone."""
        process = self._process()
        if process is None:
            return None
        with contextlib.suppress(psutil.Error):
            return int(process.memory_info().rss)
        return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process still runs."""
        process = self._process()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the process and everything in its process group, and wait until it is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self.send(signal.SIGKILL)
        self.wait(Deadline(10.0))

    def wait(self, deadline: Deadline) -> bool:
        """Wait until the process has ended; return whether it has before the deadline."""
        while self.alive():
            if deadline.passed():
                return False
            sleep(_POLL_S)
        return True

    def _process(self) -> psutil.Process | None:
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        try:
            process = psutil.Process(self.pid)
            return process if process.create_time() == self.created and not _ended(process) else None
        except psutil.Error:
            return None


def _ended(process: psutil.Process) -> bool:
    # A process whose first thread has ended is shown as a zombie, though the other threads still hold its
    # memory, files and ports: a killed JVM on a busy machine is like that for some time.
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1


def spawn(command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str], die_with_parent: bool) -> ProcessRef:
    """Start `command` in a session of its own, its output appended to `log`.

    It outlives this process, and a Ctrl-C in this terminal does not reach it; with `die_with_parent` a guard
    ends it when this process is gone.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
    _children[child.pid] = child
    if die_with_parent:
        _guard(child.pid)
    return ProcessRef(child.pid, psutil.Process(child.pid).create_time())


def _guard(pid: int) -> None:
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), str(pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _children[guard.pid] = guard


def tail(log: Path, lines: int) -> str:
    """Return the last lines of a log that may be long, missing, or written to meanwhile."""
    reach = lines * 400
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - reach))
            content = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(content.splitlines()[-lines:])
