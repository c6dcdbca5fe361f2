"""A broken promise as a value, its deterministic id, and its record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

__all__ = ["EVENT", "Breach", "BreachState", "Burn", "Example", "Reason", "Severity", "Unit", "breach_id"]

EVENT = "sla_breach"
"""The schema of its records, in `schemas/events`; `EventCodec` encodes what `datum` gives."""

BreachState = Literal["opened", "escalated", "resolved"]
Severity = Literal["warning", "critical"]
Unit = Literal["seconds", "ratio", "rate"]
Reason = Literal["kept", "silent", "withdrawn"]

_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Example:
    """One of the worst observations of a window."""

    fetch_id: str
    elapsed_seconds: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast an error budget was used up in a pair of windows, and the rate that both must exceed."""

    long_seconds: float
    short_seconds: float
    threshold: float
    long_rate: float
    short_rate: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Breach:
    """One state of a broken promise; fields as in `schemas/events/sla_breach.avsc`."""

    id: str
    sequence: int
    state: BreachState
    severity: Severity
    world: str
    objective: str
    kind: str
    promise: str
    dataset: str
    phase: str
    window_start: datetime
    window_end: datetime
    promised: float
    unit: Unit
    opened_at: datetime
    at: datetime
    consumer: str | None = None
    interval: str | None = None
    subject: str | None = None
    observed: float | None = None
    count: int = 0
    over: int = 0
    burn: tuple[Burn, ...] = ()
    examples: tuple[Example, ...] = ()
    runbook_url: str | None = None
    dashboard_url: str | None = None
    reason: Reason | None = None
    synthetic: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the promise is still broken."""
        return self.state != "resolved"

    @property
    def key(self) -> bytes:
        """The key of its records: all of one breach are in one partition, in their order."""
        return self.id.encode()

    def datum(self) -> dict[str, Any]:
        """Return the breach as its Avro schema has it."""
        datum = asdict(self)
        return {**datum, "burn": list(datum["burn"]), "examples": list(datum["examples"])}

    @classmethod
    def from_datum(cls, datum: Mapping[str, Any]) -> Breach:
        """Return the breach of a decoded record; fields that this version does not know are left out."""
        known = {name: datum[name] for name in cls.__dataclass_fields__ if name in datum}
        known["burn"] = tuple(Burn(**each) for each in datum.get("burn", ()))
        known["examples"] = tuple(Example(**each) for each in datum.get("examples", ()))
        return cls(**known)


def breach_id(world: str, objective: str, dataset: str, consumer: str | None, phase: str, began: int | str) -> str:
    """Return the id of the breach that began so.

    Args:
        began: start of the first window that broke the promise, nanoseconds since the epoch, or the id of the late job.
    """
    parts = (world, objective, dataset, consumer or "", phase, str(began))
    # A separator that none of them can hold, so that no two lists of parts read the same.
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_ID_DIGITS]
