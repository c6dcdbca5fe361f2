"""Write the lock again after a version in `settings` has changed: `python -m operations.stack.relock`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from jgo.maven import Artifact as MavenArtifact
from jgo.maven import MavenContext
from jgo.parse import Coordinate
from rich.console import Console

from operations.stack.artifacts import LOCK_PATH, Artifact, StackLock, sha256_of, write_lock
from operations.stack.download import maven_context
from operations.stack.settings import KAFKA_COORDINATES, REGISTRY_COORDINATE

__all__ = ["main", "resolve"]

_RUN_SCOPES = ("compile", "runtime")


def resolve(context: MavenContext) -> StackLock:
    """Resolve the stack's artifacts with all they need, download each and return the lock."""
    wanted = (replace(Coordinate.parse(text), scope="compile") for text in KAFKA_COORDINATES)
    named = [context.create_dependency(coordinate) for coordinate in wanted]
    inputs, transitive = context.resolver.resolve(named)
    jars = [*inputs, *(found for found in transitive if found.scope in _RUN_SCOPES)]
    return StackLock(
        kafka=tuple(_locked(jar.artifact) for jar in jars),
        registry=_locked(_registry_archive(context)),
    )


def _registry_archive(context: MavenContext) -> MavenArtifact:
    # Taken apart here because jgo does not know tar.gz as a packaging when it parses a coordinate.
    group, name, version, classifier, packaging = REGISTRY_COORDINATE.split(":")
    return context.project(group, name).at_version(version).artifact(classifier, packaging)


def _locked(artifact: MavenArtifact) -> Artifact:
    path = Path(artifact.resolve())
    return Artifact(
        group=artifact.groupId,
        name=artifact.artifactId,
        version=artifact.version,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        packaging=artifact.packaging,
        classifier=artifact.classifier,
    )


def main() -> None:
    """Resolve from scratch, in an empty folder, so that nothing cached decides what is locked."""
    with tempfile.TemporaryDirectory(prefix="seamless-relock-") as folder:
        lock = resolve(maven_context(Path(folder)))
    write_lock(lock)
    Console().print(f"{LOCK_PATH.name}: {len(lock.kafka)} jars of Kafka, 1 archive of the registry")


if __name__ == "__main__":
    main()
