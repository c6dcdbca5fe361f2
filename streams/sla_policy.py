"""What a reader is promised: how long each part of a fetch may take, how complete and how fresh the rows must be.

A policy is a value. Which one is in force for a dataset and a consumer is said in `streams.sla_resolve`; what is done
about it, in `streams.provider.phases`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from streams.durations import seconds_of, spelled

__all__ = ["FIELDS", "FOREVER", "PRESETS", "WAITS", "Objective", "OnViolation", "Phase", "SLAPolicy", "contradictions"]

OnViolation = Literal["fail_fast", "partial_fill", "hold"]
Phase = Literal["storage_wait", "backfill_wait", "live_wait"]
Objective = Literal["storage_wait", "backfill_wait", "live_wait", "total", "staleness", "coverage"]

WAITS: Mapping[Phase, str] = MappingProxyType(
    {"storage_wait": "max_wait_storage", "backfill_wait": "max_wait_backfill", "live_wait": "max_wait_live"}
)

FOREVER = "forever"
_SHORTEST_PAUSE_S = 0.001


def _limit(value: object) -> float | None:
    return None if value is None or value == FOREVER else seconds_of(value)


def _positive(value: object) -> float | None:
    seconds = _limit(value)
    if seconds == 0:
        raise ValueError(f"0 leaves no time at all; write a longer span, or {FOREVER} for no limit")
    return seconds


def _pause(value: object) -> float:
    seconds = seconds_of(value)
    if seconds < _SHORTEST_PAUSE_S:
        raise ValueError("is no pause; write at least 1ms")
    return seconds


Limit = Annotated[float | None, BeforeValidator(_limit)]
PositiveLimit = Annotated[float | None, BeforeValidator(_positive)]


class SLAPolicy(BaseModel):
    """Deadlines, completeness and freshness of what a reader gets, and what happens where they are not kept.

    Spans are seconds, as in 0.5, or text such as `500ms`, `30s` or `2m`; `forever`, or None, is no limit. What is not
    set is no limit where the policy stands alone; where it is given to a fetch, the settings say it.

    Raises:
        pydantic.ValidationError: naming the field and the remedy, if a value makes no sense or two contradict.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_wait_storage: PositiveLimit = Field(None, description="longest wait for the archive")
    max_wait_backfill: Limit = Field(None, description="longest wait for what is missing; 0: ask for it, wait for none")
    max_wait_live: Limit = Field(None, description="longest wait for live rows; 0: those that are there")
    total_deadline: PositiveLimit = Field(None, description="longest a fetch may take in all")
    max_staleness: PositiveLimit = Field(None, description="greatest age of the newest row, by the dataset's calendar")
    min_coverage: float = Field(0.0, ge=0, le=1, description="share of what was asked for that must be there")
    retry_backoff: Annotated[float, BeforeValidator(_pause)] = Field(
        0.25, description="pause before the first new try of what failed; it doubles, with jitter"
    )
    on_violation: OnViolation = Field(
        "fail_fast", description="raise, return what there is and mark it, or wait on and report"
    )

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        found = contradictions(self.given())
        if found:
            raise ValueError("; ".join(found))
        return self

    def given(self) -> dict[str, Any]:
        """Return the fields that were set, without those that have their value by default."""
        return {name: getattr(self, name) for name in FIELDS if name in self.model_fields_set}

    def wait(self, phase: Phase) -> float | None:
        """Return how many seconds a phase may take by itself; None is no limit."""
        limit: float | None = getattr(self, WAITS[phase])
        return limit


FIELDS: tuple[str, ...] = tuple(SLAPolicy.model_fields)
BOUND_BY_TOTAL = (*WAITS.values(), "retry_backoff")


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with fields of a policy taken together, each with the remedy; `values` may lack some."""
    found = []
    total = values.get("total_deadline")
    for name in BOUND_BY_TOTAL:
        own = values.get(name)
        if total is not None and own is not None and own > total:
            found.append(
                f"{name} ({spelled(own)}) is longer than total_deadline ({spelled(total)}), so it could never be used "
                f"up: lower {name} or raise total_deadline"
            )
    if values.get("on_violation") == "hold":
        found += [
            f"{name} = 0 asks not to wait, and on_violation = hold to wait on: set a longer {name}, or partial_fill"
            for name in WAITS.values()
            if values.get(name) == 0
        ]
    return found


def _preset(**fields: Any) -> SLAPolicy:
    return SLAPolicy.model_validate(fields)


PRESETS: Mapping[str, SLAPolicy] = MappingProxyType(
    {
        # Nothing is kept from the reader: what is late or lacks more than a hundredth is an error.
        "baseline": _preset(
            max_wait_storage="5s",
            max_wait_backfill="60s",
            max_wait_live="10s",
            total_deadline="90s",
            max_staleness=FOREVER,
            min_coverage=0.99,
            retry_backoff="250ms",
            on_violation="fail_fast",
        ),
        # For what must not run on holes: every row that the calendar expects, however long backfill takes.
        "strict-blocking": _preset(
            max_wait_storage="10s",
            max_wait_backfill="5m",
            max_wait_live="30s",
            total_deadline="6m",
            max_staleness="2m",
            min_coverage=1.0,
            retry_backoff="500ms",
            on_violation="fail_fast",
        ),
        # For what must go on: what there is within seconds, marked where something lacks.
        "tolerant-partial": _preset(
            max_wait_storage="2s",
            max_wait_backfill="5s",
            max_wait_live="2s",
            total_deadline="8s",
            max_staleness="5m",
            min_coverage=0.9,
            retry_backoff="250ms",
            on_violation="partial_fill",
        ),
        # For a notebook: no demands, and patience with a machine that does other things as well.
        "permissive-dev": _preset(
            max_wait_storage="30s",
            max_wait_backfill="10s",
            max_wait_live=FOREVER,
            total_deadline=FOREVER,
            max_staleness=FOREVER,
            min_coverage=0.0,
            retry_backoff="1s",
            on_violation="partial_fill",
        ),
    }
)
