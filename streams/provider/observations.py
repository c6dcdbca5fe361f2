"""What is told of each phase of a fetch: one value, from which metrics, log and the SLA agent's records are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from streams.sla.fold import Fold
from streams.sla_policy import Objective

__all__ = ["Lane", "Observation", "Observer", "Outcome"]

Lane = Literal["live", "backfill"]
Outcome = Literal["ok", "violated", "partial", "hold", "failed"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a phase took, or what a check found; fields as in `schemas/events/sla_observation.avsc`."""

    world: str
    dataset: str
    consumer: str
    phase: Objective
    interval: str | None
    lane: Lane
    outcome: Outcome
    elapsed_seconds: float
    budget_seconds: float | None
    at: datetime
    fetch_id: str
    symbols: int = 0
    rows: int | None = None
    watermark: int | None = None
    coverage: float | None = None
    min_coverage: float | None = None
    final: bool = True
    synthetic: bool = False
    fold: Fold | None = None

    @property
    def objective(self) -> str:
        """What is promised to whom: all observations of one objective of a world are in one partition."""
        return f"{self.dataset}/{self.consumer}/{self.phase}"

    def datum(self) -> dict[str, Any]:
        """Return the observation as its Avro schema has it."""
        datum = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**datum, "fold": None if self.fold is None else self.fold.datum(), "source": None}


Observer = Callable[[Observation], None]
"""Is told every observation; what it raises is logged and goes no further."""
