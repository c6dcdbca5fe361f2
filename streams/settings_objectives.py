"""The sections of the settings that concern the SLA agent: its objectives, and how it works."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from streams.durations import seconds_of
from streams.settings_kafka import Section
from streams.sla_policy import PositiveLimit
from streams.topics import check_dataset_name

__all__ = ["BurnSettings", "ObjectiveKind", "ObjectivePhase", "ObjectiveSettings", "SLAAgentSettings"]

ObjectiveKind = Literal["quantile", "budget", "staleness", "completeness", "conformance"]
ObjectivePhase = Literal["storage_wait", "backfill_wait", "live_wait", "total", "coverage"]
Severity = Literal["warning", "critical"]

_LONGEST_WINDOW_S = 90 * 86_400.0


def _whole(value: object) -> float:
    seconds = seconds_of(value)
    if seconds < 1 or seconds != int(seconds) or seconds > _LONGEST_WINDOW_S:
        raise ValueError("a window is whole seconds, from 1s to 90d")
    return seconds


Window = Annotated[float, BeforeValidator(_whole)]
OptionalWindow = Annotated[float | None, BeforeValidator(lambda value: None if value is None else _whole(value))]

# Which settings make sense for which kind, besides those that do for all.
_OF_KIND: dict[str, set[str]] = {
    "quantile": {"consumer", "phase", "quantile", "limit", "window", "hop", "min_count"},
    "budget": {"consumer", "phase", "limit", "target", "period", "burn", "min_count"},
    "staleness": {"consumer", "limit", "intervals"},
    "completeness": {"limit", "min_coverage", "urgent_only"},
    "conformance": {"max_ratio", "window", "hop", "min_count"},
}
_OF_ALL = {"kind", "dataset", "severity", "escalate_after", "runbook_url", "dashboard_url", "enabled"}


class BurnSettings(Section):
    """A pair of windows and the rate at which both must use up the budget for a breach."""

    long: Window = Field(description="length of the long window, which says that it matters")
    short: Window = Field(description="length of the short window, which says that it still goes on")
    rate: float = Field(gt=0, description="multiples of the pace that just uses up the budget in its period")
    severity: Severity = Field("critical", description="warning or critical")

    @model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        if self.short >= self.long:
            raise ValueError("short must be shorter than long")
        return self


class ObjectiveSettings(Section):
    """A promise that the agent watches; what is not set is as the readers' SLA policies have it."""

    kind: ObjectiveKind = Field(description="what is watched")
    enabled: bool = Field(True, description="false switches it off, also one of those there are by default")
    dataset: Annotated[str, AfterValidator(check_dataset_name)] | None = Field(None, description="unset: each dataset")
    consumer: str | None = Field(None, description="unset: each reader by itself; of staleness, the dataset as a whole")
    phase: ObjectivePhase = Field("total", description="of quantile and budget: what takes the time")
    quantile: float = Field(0.99, gt=0, le=1, description="of quantile: the share of fetches that must keep the limit")
    limit: PositiveLimit = Field(
        None,
        description="longest time (quantile, budget), greatest age (staleness), or time a backfill has (completeness); "
        "unset: the policy's",
    )
    intervals: float | None = Field(
        None, gt=0, description="of staleness: the limit in the dataset's intervals, instead of limit"
    )
    window: Window = Field(300.0, description="of quantile and conformance: length of a window")
    hop: OptionalWindow = Field(None, description="a new window begins so often; unset: where the last one ends")
    min_count: int = Field(1, ge=1, description="windows with fewer observations (conformance: rows) say nothing")
    target: float = Field(0.99, gt=0, lt=1, description="of budget: the share that must be good")
    period: Window = Field(30 * 86_400.0, description="of budget: the time that it is for")
    burn: tuple[BurnSettings, ...] | None = Field(
        None, description="of budget: pairs of windows; unset: those of the SRE Workbook (1h/5m, 6h/30m, 3d/6h)"
    )
    min_coverage: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of completeness: the share of a job to be done in time; unset: the policy's",
    )
    urgent_only: bool = Field(False, description="of completeness: only jobs that somebody waits for")
    max_ratio: float = Field(0.01, ge=0, lt=1, description="of conformance: the share of rows that may break a rule")
    severity: Severity = Field("warning", description="of a breach when it opens: warning or critical")
    escalate_after: OptionalWindow = Field(None, description="a breach that lasts so long becomes critical")
    runbook_url: str | None = Field(None, pattern=r"^https?://", description="unset: that of the agent's settings")
    dashboard_url: str | None = Field(None, pattern=r"^https?://", description="unset: that of the agent's settings")

    @field_validator("burn")
    @classmethod
    def _some_pair(cls, value: tuple[BurnSettings, ...] | None) -> tuple[BurnSettings, ...] | None:
        if value == ():
            raise ValueError("an empty list watches nothing; leave it out, or set enabled = false")
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        strange = self.model_fields_set - _OF_ALL - _OF_KIND[self.kind]
        if strange:
            known = ", ".join(sorted(_OF_KIND[self.kind]))
            raise ValueError(f"{', '.join(sorted(strange))}: not of kind {self.kind}, which has {known}. Remove it")
        if self.hop is not None and self.window % self.hop:
            raise ValueError("hop must go into window without remainder, such as 1m into 5m")
        if self.limit is not None and self.intervals is not None:
            raise ValueError("limit and intervals say the same: remove one")
        if self.kind == "completeness" and self.limit is None and "limit" in self.model_fields_set:
            raise ValueError("limit = forever watches nothing: set enabled = false instead")
        return self


class SLAAgentSettings(Section):
    """How the agent works."""

    defaults: bool = Field(True, description="watch what the readers' policies promise, without any objective set")
    grace_ms: int = Field(
        500, ge=0, le=3_600_000, description="how long after its end a window waits for what was told within it"
    )
    checkpoint_s: float = Field(
        5.0, gt=0, le=300, description="states are written so often; a breach is written at once, with its state"
    )
    session_timeout_s: float = Field(
        10.0, ge=6, le=300, description="after so long without a sign of life its partitions go to another agent"
    )
    restore_deadline_s: float = Field(
        60.0, gt=0, description="longest that reading the states of partitions may take, in seconds"
    )
    runbook_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="what to do about a breach; {objective}, {kind}, {dataset} are filled in",
    )
    dashboard_url: str | None = Field(
        None, pattern=r"^https?://", description="where to look at it; the same blanks, and {consumer} and {phase}"
    )
