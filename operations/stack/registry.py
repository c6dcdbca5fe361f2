"""Apicurio Registry, which keeps its schemas in that same broker: its configuration and command."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from operations.stack.aot import AotCache
from operations.stack.install import Installation
from operations.stack.jvm import fingerprint, java_command
from operations.stack.parts import Part
from operations.stack.ports import LOOPBACK
from operations.stack.probe import registry_answers
from operations.stack.settings import REGISTRY_HEAP, REGISTRY_SETTINGS, REGISTRY_VERSION
from operations.stack.state import Ports

__all__ = ["configuration", "registry_part"]


def configuration(ports: Ports, scratch: Path) -> dict[str, str]:
    """Return every registry setting: the table's, and those that differ per stack."""
    return REGISTRY_SETTINGS | {
        "apicurio.kafkasql.bootstrap.servers": f"{LOOPBACK}:{ports.kafka}",
        "apicurio.storage.snapshot.location": str(scratch),
        "quarkus.http.host": LOOPBACK,
        "quarkus.http.port": str(ports.registry),
        # A second server, for health and metrics, that cannot be turned off; stacks would fight for its port.
        "quarkus.management.host": LOOPBACK,
        "quarkus.management.port": "0",
        'quarkus.log.category."org.apache.kafka".level': "WARN",
    }


def registry_part(installation: Installation, folder: Path, ports: Ports) -> Part:
    """Return the registry to be."""
    scratch = folder / "registry"  # Quarkus reads configuration from its working folder, so it gets its own
    scratch.mkdir(parents=True, exist_ok=True)
    properties = configuration(ports, scratch)
    jar = installation.registry_jar
    return Part(
        name="Apicurio Registry",
        version=REGISTRY_VERSION,
        port=ports.registry,
        command=lambda flags: java_command(["-jar", str(jar)], heap=REGISTRY_HEAP, properties=properties, flags=flags),
        answers=partial(registry_answers, ports.registry),
        log=folder / "logs" / "registry.log",
        cwd=scratch,
        aot=AotCache.of(installation.aot_dir, "registry", REGISTRY_VERSION, fingerprint([jar])),
    )
