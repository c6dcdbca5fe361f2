"""What a fetch gives: rows, how complete they are, what is missing and why, and what the promises came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import polars as pl

from schemas.contract import Contract
from schemas.findings import Finding
from streams.archive.coverage import SymbolCoverage
from streams.archive.layout import Source
from streams.archive.reader import ArchiveRows
from streams.durations import spelled
from streams.provider.budget import Violated
from streams.sla_exceeded import MissingRange

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["WHY", "FetchResult", "Missing", "Why"]

Why = Literal[
    "not_yet",
    "passed_over",
    "no_source",
    "rejected",
    "running",
    "job_failed",
    "source_has_none",
    "coordinator_unavailable",
    "broker_unavailable",
    "archive_unavailable",
    "known_then",
    "no_time",
]
WHY: Mapping[Why, str] = {
    "not_yet": "the bar has just ended and may still come",
    "passed_over": "later bars came and this one did not",
    "no_source": "the dataset has no source to fetch it from",
    "rejected": "the coordinator refused to fetch it",
    "running": "it is being fetched, and was not there in time",
    "job_failed": "it was to be fetched, and that failed",
    "source_has_none": "the source has nothing there",
    "coordinator_unavailable": "the coordinator could not be asked for it",
    "broker_unavailable": "Kafka could not be read, so it may be there",
    "archive_unavailable": "the archive could not be read, so it may be there",
    "known_then": "it was not known at the moment asked for",
    "no_time": "the time was up before it could be asked for",
}
"""Why a row is missing, in words."""

_SHOWN = 5


@dataclass(frozen=True, slots=True, order=True)
class Missing(MissingRange):
    """What is not there of a symbol, and why.

    Attributes:
        why: a key of `WHY`.
        detail: what is known besides, such as the error of a job.
    """

    why: Why = "not_yet"
    detail: str = ""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{MissingRange.__str__(self)}: {WHY[self.why]}{detail}"


@dataclass(frozen=True, repr=False, eq=False)
class FetchResult:
    """The rows of a fetch and what is known of them.

    Attributes:
        dataset, symbols, start, end: what was asked for; nanoseconds since the epoch.
        frame: the contract's columns, times as UTC datetimes, one row per identity, the newest; ordered by event time,
            symbol and what else identifies a row.
        contract, contract_version: whose columns these are.
        coverage: by symbol, which of the expected bars are there; a session of ticks counts as there if it has a row.
        missing: what is not there and why.
        timings: seconds of each phase that was entered, and `total`.
        violations: promises that were not kept.
        partial: whether something was left out that took too long or failed, or too little is there.
        reasons: by phase, in words, why it gave nothing.
        degraded: what could not be used: archive, broker, coordinator; with the reason.
        positions: for each partition that was looked at, the offset up to which (and without which) all rows are here.
        as_of: the past moment that was asked for, milliseconds since the epoch; None for now.
        fetch_id: the same in observations and log.
    """

    dataset: str
    symbols: tuple[str, ...]
    start: int
    end: int
    frame: pl.DataFrame
    contract: Contract
    contract_version: int
    coverage: Mapping[str, SymbolCoverage]
    missing: tuple[Missing, ...]
    timings: Mapping[str, float]
    violations: tuple[Violated, ...]
    partial: bool
    reasons: Mapping[str, str]
    degraded: Mapping[str, str]
    positions: Mapping[Source, int]
    as_of: int | None = None
    fetch_id: str = field(default="", compare=False)

    def to_arrow(self) -> pa.Table:
        """Return the rows in the contract's plain Arrow types."""
        return self._rows.arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a pandas frame, times as UTC timestamps of the contract's resolution."""
        return self.frame.to_pandas()

    @cached_property
    def fingerprint(self) -> str:
        """The canonical hash of contract version, rows and order: equal for equal content, whatever path it came by."""
        return self._rows.fingerprint

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def ratio(self) -> float:
        """Which share of the expected bars of all symbols is there; 1 where none is expected."""
        expected = sum(one.expected for one in self.coverage.values())
        return sum(one.present for one in self.coverage.values()) / expected if expected else 1.0

    def explain(self, flags: int) -> list[Finding]:
        """Return what a row's `flags` say, in the order of their bits."""
        return self.contract.explain(flags)

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        marks = ", partial" if self.partial else ""
        return (
            f"<FetchResult {self.dataset}: {self.frame.height:,} rows of {_counted(len(self.symbols), 'symbol')}, "
            f"{_day(self.start)} to {_day(self.end)}, {self.ratio:.2%} there{marks}>"
        )

    def __str__(self) -> str:
        head = f"{self.dataset}, {_day(self.start)} to {_day(self.end)}: {self.frame.height:,} rows of "
        head += f"{_counted(len(self.symbols), 'symbol')}, {self.ratio:.2%} there{', partial' if self.partial else ''}"
        lines = [head]
        if self.as_of is not None:
            lines[0] += f", as known at {datetime.fromtimestamp(self.as_of / 1_000, UTC).isoformat()}"
        lines += [f"  missing {one}" for one in self.missing[:_SHOWN]]
        if len(self.missing) > _SHOWN:
            lines.append(f"  missing {len(self.missing) - _SHOWN:,} ranges more")
        lines += [f"  without the {what}: {reason}" for what, reason in self.degraded.items()]
        told = set(self.degraded.values())
        lines += [f"  {phase}: {reason}" for phase, reason in self.reasons.items() if reason not in told]
        lines.append("  " + ", ".join(f"{phase} {spelled(round(s, 3))}" for phase, s in self.timings.items()))
        return "\n".join(lines)

    @property
    def _rows(self) -> ArchiveRows:
        return ArchiveRows(self.frame, self.contract, self.contract_version)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _day(nanos: int) -> str:
    text = datetime.fromtimestamp(nanos // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M")
    return text.removesuffix(" 00:00")
