"""What is promised to whom: the objectives of the settings, and those that the readers' policies imply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from streams.durations import as_written, spelled
from streams.settings import Settings
from streams.settings_objectives import BurnSettings, ObjectiveKind, ObjectiveSettings
from streams.sla.breach import Severity, Unit
from streams.sla_policy import WAITS

__all__ = ["DATASET_ITSELF", "Objectives", "Pair", "SeriesKey", "Watch", "default_objectives"]

DATASET_ITSELF = "*"
"""Stands in a record's key for the reader, where something is about the dataset itself; no reader is called so."""

NS = 1_000_000_000
_LIMITS: dict[str, str] = {**{str(phase): name for phase, name in WAITS.items()}, "total": "total_deadline"}
_SHORT_PARTS = 5  # a short window is looked at in so many pieces, as the Workbook's own rules look at five minutes
_SERIES_KEPT = 65_536

_DEFAULTS = {
    "deadline": ObjectiveSettings(kind="quantile", phase="total"),
    "budget": ObjectiveSettings(kind="budget", phase="total"),
    "coverage": ObjectiveSettings(kind="budget", phase="coverage"),
    "freshness": ObjectiveSettings(kind="staleness"),
    "backfill": ObjectiveSettings(kind="completeness", urgent_only=True),
    "conformance": ObjectiveSettings(kind="conformance"),
}

# SRE Workbook, chapter 5, table 5-8: 2 % of a month's budget in an hour, 5 % in six, 10 % in three days.
_WORKBOOK = (
    BurnSettings(long=3_600.0, short=300.0, rate=14.4, severity="critical"),
    BurnSettings(long=21_600.0, short=1_800.0, rate=6.0, severity="critical"),
    BurnSettings(long=259_200.0, short=21_600.0, rate=1.0, severity="warning"),
)


class SeriesKey(NamedTuple):
    """What observations are of; their record key is `dataset/consumer/phase`."""

    dataset: str
    consumer: str
    phase: str

    def __str__(self) -> str:
        return "/".join(self)

    @classmethod
    def parse(cls, key: bytes | str | None) -> SeriesKey | None:
        """Return the key of a record; None if it is none."""
        text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key or ""
        parts = text.split("/")
        return cls(*parts) if len(parts) == 3 else None


class Pair(NamedTuple):
    """A pair of burn-rate windows in nanoseconds; `unit` is the length of the pieces that they are counted in."""

    long: int
    short: int
    unit: int
    rate: float
    severity: Severity


@dataclass(frozen=True)
class Watch:
    """An objective as it is watched for one series.

    Attributes:
        series: whose observations it is about.
        limit: what is promised: seconds (quantile, staleness, completeness, a budget with a limit of its own), a share
            of rows (conformance); None of a budget for which the reader's own policy says what is good.
        interval, interval_ns, calendar: of the dataset; of ticks the first two are None.
    """

    name: str
    settings: ObjectiveSettings
    series: SeriesKey
    limit: float | None
    interval: str | None
    interval_ns: int | None
    calendar: str
    min_coverage: float = 1.0

    @property
    def kind(self) -> ObjectiveKind:
        """What is watched."""
        return self.settings.kind

    @property
    def consumer(self) -> str | None:
        """The reader; None if it is about the dataset itself."""
        return None if self.series.consumer == DATASET_ITSELF else self.series.consumer

    @cached_property
    def id(self) -> str:
        """The key of its state."""
        return f"{self.name}|{self.series}"

    @property
    def unit(self) -> Unit:
        """What the limit is counted in."""
        return {"budget": "rate", "conformance": "ratio", "completeness": "ratio"}.get(self.kind, "seconds")  # type: ignore[return-value]

    @cached_property
    def window(self) -> int:
        """Length of a window of a quantile or of conformance, nanoseconds."""
        return int(self.settings.window) * NS

    @cached_property
    def step(self) -> int:
        """How often it is judged, nanoseconds; every window begins and ends at a multiple of it."""
        if self.kind == "budget":
            return min(pair.unit for pair in self.pairs)
        if self.kind in {"staleness", "completeness"}:
            return NS
        return int(self.settings.hop or self.settings.window) * NS

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The burn-rate windows of a budget."""
        found = []
        for each in self.settings.burn or _WORKBOOK:
            unit = max(1, int(each.short) // _SHORT_PARTS) * NS
            found.append(Pair(int(each.long) * NS, int(each.short) * NS, unit, each.rate, each.severity))
        return tuple(found)

    @cached_property
    def period(self) -> int:
        """The time that a budget is for, nanoseconds."""
        return int(self.settings.period) * NS

    @cached_property
    def escalate_after(self) -> int | None:
        """How long a breach may last before it is critical, nanoseconds."""
        return None if self.settings.escalate_after is None else int(self.settings.escalate_after) * NS

    @property
    def promise(self) -> str:
        """The objective in words."""
        own, phase = self.settings, self.series.phase
        match self.kind:
            case "quantile":
                return f"p{own.quantile * 100:g} of {phase} <= {spelled(self.limit or 0)} over {as_written(own.window)}"
            case "budget":
                good = "as its policy says" if self.limit is None else f"within {spelled(self.limit)}"
                return f"{own.target * 100:g} % of {phase} {good}, over {as_written(own.period)}"
            case "staleness":
                return f"nothing newer for at most {spelled(self.limit or 0)}, by the calendar {self.calendar}"
            case "completeness":
                jobs = "each urgent backfill job" if own.urgent_only else "each backfill job"
                return f"{self.min_coverage:.0%} of {jobs} done within {spelled(self.limit or 0)}"
            case "conformance":
                return f"at most {self.limit or 0:.2%} of the rows break a rule, over {as_written(own.window)}"


class Objectives:
    """All objectives of a world, and which of them a series is under."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        named = {**(default_objectives() if settings.sla_agent.defaults else {}), **settings.sla.objectives}
        self.named = {name: one for name, one in named.items() if one.enabled}
        self.of = lru_cache(_SERIES_KEPT)(self._of)

    def of_datasets(self) -> Iterator[Watch]:
        """Yield those that are about datasets themselves, and so are watched before anything was observed."""
        for dataset in sorted(self._settings.datasets):
            for phase in ("staleness", "completeness"):
                yield from self.of(SeriesKey(dataset, DATASET_ITSELF, phase))

    def known(self) -> Iterator[Watch]:
        """Yield all that can be told without observations: of readers, of each that the settings name."""
        yield from self.of_datasets()
        readers = sorted({*self._settings.sla.consumers, *(o.consumer for o in self.named.values() if o.consumer)})
        for dataset in sorted(self._settings.datasets):
            yield from self.of(SeriesKey(dataset, DATASET_ITSELF, "conformance"))
            for reader in readers or ["unnamed"]:
                for phase in (*_LIMITS, "coverage", "staleness"):
                    yield from self.of(SeriesKey(dataset, reader, phase))

    def _of(self, series: SeriesKey) -> tuple[Watch, ...]:
        if series.dataset not in self._settings.datasets:
            return ()
        found = (self._watch(name, one, series) for name, one in self.named.items() if _concerns(one, series))
        return tuple(each for each in found if each is not None)

    def _watch(self, name: str, one: ObjectiveSettings, series: SeriesKey) -> Watch | None:
        dataset = self._settings.dataset(series.dataset)
        reader = None if series.consumer == DATASET_ITSELF else series.consumer
        policy = self._settings.sla.in_force(series.dataset, reader).policy
        limit = one.limit
        match one.kind:
            case "quantile":
                limit = limit or getattr(policy, _LIMITS.get(series.phase, ""), None)
            case "staleness":
                interval = dataset.interval_ns()
                if one.intervals is not None and interval is not None:
                    limit = one.intervals * interval / NS
                limit = limit or policy.max_staleness
            case "completeness":
                limit = limit or policy.max_wait_backfill
            case "conformance":
                limit = one.max_ratio
        if limit is None and one.kind != "budget":
            return None  # there is no such promise
        return Watch(
            name,
            one,
            series,
            limit,
            dataset.interval,
            dataset.interval_ns(),
            dataset.calendar,
            one.min_coverage if one.min_coverage is not None else policy.min_coverage or 1.0,
        )


def default_objectives() -> dict[str, ObjectiveSettings]:
    """Return what the readers' policies imply, by name; a table of the same name takes the place of one."""
    return dict(_DEFAULTS)


def _concerns(one: ObjectiveSettings, series: SeriesKey) -> bool:
    if one.dataset is not None and one.dataset != series.dataset:
        return False
    about_dataset = series.consumer == DATASET_ITSELF
    match one.kind:
        case "completeness" | "conformance":
            return about_dataset and series.phase == one.kind
        case "staleness":
            return series.phase == "staleness" and series.consumer == (one.consumer or DATASET_ITSELF)
    return not about_dataset and series.phase == one.phase and one.consumer in {None, series.consumer}
