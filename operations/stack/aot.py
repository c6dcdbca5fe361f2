"""Ahead-of-time caches: a JVM's loaded and linked classes, kept so that the next one starts in half the time.

A run may *train*: it starts as always, and writes the cache when it is stopped gracefully. A cache is only ever a
help. The JVM ignores one of another JVM or of other jars, but maps a damaged one as it is and may crash of it at any
later time; so its checksum is part of its name, and one that breaks a start all the same is thrown away.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from operations.stack.artifacts import sha256_of

__all__ = ["AotCache", "keep_recording", "recording_has_begun"]

_CACHE = ".aot"
_RECORDING = ".training"


@dataclass(frozen=True, slots=True)
class AotCache:
    """The cache of one part at one version on one JVM; in `folder` it is called `{name}.{checksum}.aot`."""

    folder: Path
    name: str

    @classmethod
    def of(cls, folder: Path, part: str, version: str, fingerprint: str) -> AotCache:
        """Return the cache that belongs to a part, whether or not it exists yet."""
        return cls(folder, f"{part}-{version}-{fingerprint}")

    def use_flags(self) -> list[str]:
        """Return the JVM's flags to start with the cache: none if there is none, or only a damaged one."""
        for path in _caches(self.folder, self.name):
            if path == _named_by_content(self.folder, self.name, path):
                return [f"-XX:AOTCache={path}"]
            path.unlink(missing_ok=True)
        return []

    def training_output(self) -> Path:
        """Return a path of its own for a training run, so that two of them do not write one file."""
        return self.folder / f"{self.name}.{uuid.uuid4().hex[:8]}{_RECORDING}"

    def discard(self) -> None:
        """Throw the cache away; another run may train again."""
        for path in _caches(self.folder, self.name):
            path.unlink(missing_ok=True)


def keep_recording(output: Path) -> None:
    """Turn what a training run has written to `output` into the cache, if it got as far as that."""
    # What a killed one leaves beside it is of no use to anybody.
    _notes(output).unlink(missing_ok=True)
    if output.is_file():
        folder, name = output.parent, output.name.removesuffix(_RECORDING).rpartition(".")[0]
        former = _caches(folder, name)
        cache = _named_by_content(folder, name, output)
        output.replace(cache)
        for path in former:
            if path != cache:
                path.unlink(missing_ok=True)


def recording_has_begun(output: Path) -> bool:
    """Return whether the JVM that trains into `output` has ended its work and writes what it learnt."""
    return _notes(output).is_file() or output.is_file()


def _caches(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}.*{_CACHE}"))


def _named_by_content(folder: Path, name: str, content: Path) -> Path:
    return folder / f"{name}.{sha256_of(content)[:16]}{_CACHE}"


def _notes(output: Path) -> Path:
    return output.with_name(f"{output.name}.config")
