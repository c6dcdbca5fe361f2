"""A part of the stack as the supervisor sees it: how to run it, and how to tell that it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from operations.stack.aot import AotCache

__all__ = ["Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """One process to be."""

    name: str
    """As people know it, for messages."""
    version: str
    port: int
    command: Callable[[list[str]], list[str]]
    """The command line with these additional JVM flags."""
    answers: Callable[[], bool]
    log: Path
    cwd: Path
    aot: AotCache
