"""What a normalizer tells the audit trail: each schema that it refuses, or lets pass by exception, the first time."""

from __future__ import annotations

from schemas.bounded import Recent
from schemas.report import OTHERS, ConformanceReport
from streams.schema_audit import AuditEntry

__all__ = ["SchemaNews"]

# A fleet that writes ever new ids is told of by reports and metrics; the trail is for people.
_MOST_TOLD = 200


class SchemaNews:
    """Finds what a report has that was not told before; `told` once the entries are committed."""

    def __init__(self, dataset: str, subject: str, by: str) -> None:
        self._dataset, self._subject, self._by = dataset, subject, by
        self._told: Recent[tuple[int, str, str], bool] = Recent(_MOST_TOLD)
        self._telling: list[tuple[int, str, str]] = []

    def entries(self, report: ConformanceReport, at: int) -> list[AuditEntry]:
        """Return the entries for a report, to be written in its transaction."""
        found, self._telling = [], []
        for finding in report.findings:
            about = (OTHERS, f"{finding.flag}/{finding.column}", "exception")
            if finding.excepted and not self._told.get(about) and about not in self._telling:
                self._telling.append(about)
                where = f"{finding.flag} in {finding.column}" if finding.column else finding.flag
                reason = f"{where}, first at {' '.join(finding.examples)}"
                after = "rows pass by exception"
                found.append(AuditEntry(at, self._by, "exception", self._dataset, after=after, reason=reason))
        for count in report.schemas:
            by_exception = count.excepted and report.schema_mode != "optional"  # where all pass, none needs it
            if count.reason is None or not (count.refused or by_exception) or count.schema_id == OTHERS:
                continue
            what = "exception" if by_exception else "refused"
            news = (count.schema_id, count.reason, what)
            if self._told.get(news) or len(self._told) + len(self._telling) >= _MOST_TOLD:
                continue
            self._telling.append(news)
            found.append(
                AuditEntry(
                    at,
                    self._by,
                    what,
                    self._dataset,
                    self._subject,
                    count.schema_id,
                    count.version,
                    after=f"rows are quarantined ({report.schema_mode})" if count.refused else "rows pass by exception",
                    reason=f"{count.reason}: {count.detail or ''}",
                )
            )
        return found

    def told(self) -> None:
        """Remember what was returned last."""
        for news in self._telling:
            self._told.put(news, True)
        self._telling = []
