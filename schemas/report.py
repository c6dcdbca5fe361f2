"""What conformance says of a batch: counts per finding and column, and where to look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from rich.table import Table

from schemas.findings import Severity

__all__ = ["ConformanceReport", "FindingCount", "Mode", "OffsetRange", "SchemaCount", "merge_reports", "merge_schemas"]

Mode = Literal["shadow", "blocking"]
EXAMPLES = 5
MOST_SCHEMAS = 100
OTHERS = -1  # the id of schemas that are counted together
_MOST_VERDICTS = 6  # no reason or one of two, by exception or not


class OffsetRange(BaseModel):
    """The rows of one partition that a report is about: offsets `first` to `last`, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: int
    first: int
    last: int
    rows: int


class FindingCount(BaseModel):
    """How many rows have a finding, and where the first of them are (`partition:offset`).

    `contract_version` is that of the rule, where rows were written with an earlier version than the report's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flag: str
    severity: Severity
    column: str | None
    count: int
    examples: tuple[str, ...]
    excepted: bool = False
    contract_version: int | None = None


class SchemaCount(BaseModel):
    """How many rows were written with a schema, and what strict governance thinks of it; see the event's docs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: int
    version: int | None = None
    reason: str | None = None
    rows: int
    refused: int = 0
    excepted: bool = False
    detail: str | None = None


class ConformanceReport(BaseModel):
    """The outcome of one batch (or, merged, of several).

    Rows balance: `rows_in = rows_out + rows_quarantined + rows_dropped`, where dropped rows are duplicates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    world: str
    mode: Mode
    contract: str
    contract_fingerprint: str
    contract_version: int | None = None
    rows_in: int
    rows_out: int
    rows_quarantined: int
    rows_dropped: int
    ranges: tuple[OffsetRange, ...]
    findings: tuple[FindingCount, ...]
    ignored_columns: tuple[str, ...] = ()
    created_at: datetime | None = None
    newest: datetime | None = None
    schema_mode: str | None = None
    schemas: tuple[SchemaCount, ...] = ()

    @property
    def violations(self) -> int:
        """How often a violation was found; one row may have several."""
        return sum(f.count for f in self.findings if f.severity is Severity.VIOLATION)

    def count(self, flag: str, column: str | None = None) -> int:
        """Return how many rows have a finding, in one column or (None) in all columns together."""
        return sum(f.count for f in self.findings if f.flag == flag and column in {None, f.column})

    def to_avro(self) -> dict[str, Any]:
        """Return the report as a datum of `events/conformance_report.avsc`."""
        return self.model_dump(mode="python")

    @classmethod
    def from_avro(cls, datum: dict[str, Any]) -> ConformanceReport:
        """Read a datum of `events/conformance_report.avsc`."""
        return cls.model_validate(datum)

    def table(self) -> Table:
        """Return the report as a table for a terminal."""
        title = f"{self.dataset} · {self.contract} · {self.mode}"
        caption = (
            f"{self.rows_in:,} rows in = {self.rows_out:,} out + {self.rows_quarantined:,} quarantined"
            f" + {self.rows_dropped:,} duplicates dropped"
        )
        table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
        table.add_column("finding", overflow="fold")
        table.add_column("severity")
        table.add_column("column", overflow="fold")
        table.add_column("rows", justify="right")
        table.add_column("first at (partition:offset)", overflow="fold")
        for finding in self.findings:
            style = "red" if finding.severity is Severity.VIOLATION else "yellow"
            table.add_row(
                finding.flag + (f" (version {finding.contract_version})" if finding.contract_version else ""),
                f"[{style}]{finding.severity}[/]" + (" (by exception)" if finding.excepted else ""),
                finding.column or "",
                f"{finding.count:,}",
                " ".join(finding.examples),
            )
        if not self.findings:
            table.add_row("[green]none[/]", "", "", "0", "")
        return table


def merge_reports(reports: Sequence[ConformanceReport]) -> ConformanceReport:
    """Add up reports of one dataset under one contract; ranges of a partition become one, examples stay the first.

    Raises:
        ValueError: if there are none, or they are of different datasets or contracts.
    """
    if not reports:
        raise ValueError("there is nothing to merge")
    first = reports[0]
    if {(r.dataset, r.contract_fingerprint) for r in reports} != {(first.dataset, first.contract_fingerprint)}:
        raise ValueError("reports of different datasets or contracts cannot be merged")
    return first.model_copy(
        update={
            "rows_in": sum(r.rows_in for r in reports),
            "rows_out": sum(r.rows_out for r in reports),
            "rows_quarantined": sum(r.rows_quarantined for r in reports),
            "rows_dropped": sum(r.rows_dropped for r in reports),
            "ranges": _merge_ranges(x for r in reports for x in r.ranges),
            "findings": _merge_findings(x for r in reports for x in r.findings),
            "ignored_columns": tuple(dict.fromkeys(c for r in reports for c in r.ignored_columns)),
            "created_at": reports[-1].created_at,
            "newest": max((r.newest for r in reports if r.newest is not None), default=None),
            "schema_mode": reports[-1].schema_mode,
            "schemas": merge_schemas(x for r in reports for x in r.schemas),
        }
    )


def merge_schemas(counts: Iterable[SchemaCount]) -> tuple[SchemaCount, ...]:
    """Add up the counts of equal schemas with equal verdicts, in the order of their ids.

    Beyond MOST_SCHEMAS the ones with the fewest rows are added up under the id -1, as a report has to fit a record.
    """
    merged: dict[tuple[int, str, bool], SchemaCount] = {}
    for c in counts:
        key = c.schema_id, c.reason or "", c.excepted
        have = merged.get(key)
        merged[key] = (
            c
            if have is None
            else c.model_copy(update={"rows": have.rows + c.rows, "refused": have.refused + c.refused})
        )
    found = [merged[key] for key in sorted(merged)]
    if len(found) <= MOST_SCHEMAS:
        return tuple(found)
    named = sorted((c for c in found if c.schema_id != OTHERS), key=lambda c: -c.rows)
    kept = {(c.schema_id, c.reason, c.excepted) for c in named[: MOST_SCHEMAS - _MOST_VERDICTS]}
    chosen = [(c, (c.schema_id, c.reason, c.excepted) in kept) for c in found]
    others = [c.model_copy(update={"schema_id": OTHERS, "version": None}) for c, is_kept in chosen if not is_kept]
    return (*merge_schemas(others), *(c for c, is_kept in chosen if is_kept))


def _merge_ranges(ranges: Iterable[OffsetRange]) -> tuple[OffsetRange, ...]:
    merged: dict[int, OffsetRange] = {}
    for r in ranges:
        have = merged.get(r.partition, r.model_copy(update={"rows": 0}))
        merged[r.partition] = OffsetRange(
            partition=r.partition,
            first=min(have.first, r.first),
            last=max(have.last, r.last),
            rows=have.rows + r.rows,
        )
    return tuple(merged[p] for p in sorted(merged))


def _merge_findings(findings: Iterable[FindingCount]) -> tuple[FindingCount, ...]:
    merged: dict[tuple[str, str | None, bool, int | None], FindingCount] = {}
    for f in findings:
        key = f.flag, f.column, f.excepted, f.contract_version
        have = merged.get(key)
        merged[key] = (
            f
            if have is None
            else have.model_copy(
                update={"count": have.count + f.count, "examples": (have.examples + f.examples)[:EXAMPLES]}
            )
        )
    return tuple(merged.values())
