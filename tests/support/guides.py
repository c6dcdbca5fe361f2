"""Guides that are typed as they stand: files and commands of a page in Markdown, and a shell that runs them in order.

A block whose first line is a comment with a file's name is that file. In a block of `console`, `$ ` begins a command,
and what follows is what it prints: `...` within a line stands for any text, a line of `...` for any lines. Columns may
be of any width, and empty lines do not count. A command exits with 0, unless `# exits with N` is written beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from typing import Self

import psutil

__all__ = ["Command", "File", "Shell", "matches", "steps"]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
_NAME = re.compile(r"# ([\w.-]+\.\w+)\n")
_EXITS = re.compile(r"\s+# exits with (\d+)$")
_END = "the end of a command"


@dataclass(frozen=True, slots=True)
class File:
    """A file that the reader saves."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """What the reader types, and what it has to print; `line` is its place in the page, from 1."""

    line: int
    text: str
    expected: tuple[str, ...]
    exits: int = 0


def steps(page: str) -> Iterator[File | Command]:
    """Yield what a page has its reader do, in order."""
    for block in _BLOCK.finditer(page):
        if block[1] == "console":
            yield from _commands(block[2], page.count("\n", 0, block.start()) + 2)
        elif name := _NAME.match(block[2]):
            yield File(name[1], block[2])


def _commands(text: str, first: int) -> Iterator[Command]:
    typed: Command | None = None
    for number, line in enumerate(text.splitlines(), first):
        if line.startswith("$ "):
            if typed is not None:
                yield typed
            exits = _EXITS.search(line)
            typed = Command(number, _EXITS.sub("", line[2:]), (), int(exits[1]) if exits else 0)
        else:
            assert typed is not None, f"line {number} prints something that nothing was typed for"
            typed = Command(typed.line, typed.text, (*typed.expected, line), typed.exits)
    if typed is not None:
        yield typed


def matches(expected: tuple[str, ...], printed: str) -> bool:
    """Return whether a command printed what is expected of it."""
    pattern = ""
    for line in map(_plain, expected):
        pattern += r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
    lines = [plain + "\n" for line in printed.splitlines() if (plain := _plain(line))]
    return re.fullmatch(pattern, "".join(lines)) is not None


def _plain(line: str) -> str:
    return " ".join(line.split())


class Shell:
    """A bash in a folder, whose background jobs live from one command to the next and end with it."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        bash = shutil.which("bash") or "/bin/bash"
        self._bash = subprocess.Popen(
            [bash, "--norc"],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """End the shell, and whatever it started that is still there."""
        left = [p for p in psutil.process_iter() if _session(p) == self._bash.pid]
        for process in left:
            process.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(left, timeout=5)[1]:
            process.kill()
        self._bash.wait(10)
        self._reader.join(10)
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            pipe.close()

    def type(self, command: str, seconds: float) -> tuple[int, str]:
        """Run a command; return its exit code and what it printed.

        Raises:
            AssertionError: if it takes longer than that.
        """
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '\\n{_END} %d\\n' $?\n")
        self._bash.stdin.flush()
        end, printed = monotonic() + seconds, ""
        while True:
            try:
                line = self._lines.get(timeout=max(end - monotonic(), 0.0))
            except Empty:
                raise AssertionError(
                    f"`{command}` takes longer than {seconds:g} s; until now it printed:\n{printed}"
                ) from None
            if line.startswith(_END):
                return int(line.split()[-1]), printed
            printed += line

    def _read(self) -> None:
        assert self._bash.stdout is not None
        for line in self._bash.stdout:
            self._lines.put(line)


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None
