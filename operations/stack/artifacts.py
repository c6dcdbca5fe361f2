"""The lock: which files the stack is made of, with the sha256 of each. It holds no addresses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from streams.errors import StackError

__all__ = ["LOCK_PATH", "Artifact", "StackLock", "missing", "read_lock", "sha256_of", "write_lock"]

_HASHING = 4  # threads; hashing releases the interpreter's lock

LOCK_PATH: Final = Path(__file__).with_name("stack.lock.json")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a Maven repository and what its bytes must hash to."""

    group: str
    name: str
    version: str
    sha256: str
    size: int
    packaging: str = "jar"
    classifier: str = ""

    @property
    def coordinate(self) -> str:
        """The artifact as a person would look it up: group:name:version."""
        return f"{self.group}:{self.name}:{self.version}"

    @property
    def filename(self) -> str:
        """The file's name in a Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{classifier}.{self.packaging}"


@dataclass(frozen=True, slots=True)
class StackLock:
    """Everything that is downloaded: the broker's jars in class path order, and the registry's archive."""

    kafka: tuple[Artifact, ...]
    registry: Artifact


def read_lock(path: Path = LOCK_PATH) -> StackLock:
    """Read the committed lock; raise StackError if it is missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return StackLock(
            kafka=tuple(Artifact(**entry) for entry in content["kafka"]),
            registry=Artifact(**content["registry"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"The lock of the embedded stack ({path}) cannot be read: {error}. "
            "Restore it from version control, or write it again: python -m operations.stack.relock"
        ) from error


def write_lock(lock: StackLock, path: Path = LOCK_PATH) -> None:
    """Write the lock so that a change of one artifact is a change of a few lines."""
    content = {"kafka": [asdict(entry) for entry in lock.kafka], "registry": asdict(lock.registry)}
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing(artifacts: Iterable[Artifact], folder: Path) -> list[Artifact]:
    """Return those of `artifacts` that are not in `folder`, or not with the content the lock says."""
    wanted = list(artifacts)
    with ThreadPoolExecutor(_HASHING, thread_name_prefix="verify") as pool:
        intact = pool.map(lambda artifact: _intact(artifact, folder / artifact.filename), wanted)
        return [artifact for artifact, good in zip(wanted, intact, strict=True) if not good]


def _intact(artifact: Artifact, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == artifact.size and sha256_of(path) == artifact.sha256
