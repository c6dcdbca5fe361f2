"""How the parts of a stack are right now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from operations.stack.ports import LOOPBACK
from operations.stack.probe import kafka_answers, registry_answers
from operations.stack.state import PartState, StackState

__all__ = ["PartHealth", "inspect"]

Condition = Literal["healthy", "silent", "dead", "stopped"]


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part as a table shows it; what only a running part has is None otherwise."""

    part: str
    condition: Condition
    """healthy: it answers; silent: it runs but does not; dead: it ended by itself; stopped: as told."""
    address: str
    version: str | None = None
    pid: int | None = None
    memory_bytes: int | None = None
    uptime_s: float | None = None


def inspect(state: StackState, at: datetime) -> list[PartHealth]:
    """Ask every part how it is; `at` is the time now."""
    return [
        _inspect("kafka", state.kafka, state.ports.kafka, at),
        _inspect("registry", state.registry, state.ports.registry, at),
    ]


def _inspect(name: str, part: PartState | None, port: int, at: datetime) -> PartHealth:
    address = f"{LOOPBACK}:{port}"
    if part is None:
        return PartHealth(name, "stopped", address)
    if not part.process.alive():
        return PartHealth(name, "dead", address, part.version, part.pid)
    answers = kafka_answers(port) if name == "kafka" else registry_answers(port)
    return PartHealth(
        name,
        "healthy" if answers else "silent",
        address,
        part.version,
        part.pid,
        part.process.resident_bytes(),
        (at - part.started_at).total_seconds(),
    )
