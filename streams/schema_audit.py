"""What was done about schemas, and what was refused: one entry for each, as the audit trail keeps them for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

__all__ = ["AuditEntry"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry; the fields are those of `events/schema_audit.avsc`.

    Attributes:
        at: milliseconds since the epoch.
        what: registered, imported, compatibility, mode, promoted, demoted, exception or refused; of what operators do
            to a running system, rollback with its name, override, undo or deploy.
    """

    at: int
    by: str
    what: str
    dataset: str | None = None
    subject: str | None = None
    schema_id: int | None = None
    version: int | None = None
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    evidence: tuple[str, ...] = ()
    forced: bool = False

    @property
    def key(self) -> bytes:
        """The key of the entry's record."""
        return (self.dataset or self.subject or "").encode()

    @property
    def when(self) -> datetime:
        """When it happened, in UTC."""
        return datetime.fromtimestamp(self.at / 1_000, UTC)

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"evidence": list(self.evidence)}

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> AuditEntry:
        """Return the entry of a datum, written with any version of the event."""
        known = {f.name: datum[f.name] for f in fields(cls) if f.name in datum}
        at = known["at"]
        millis = at if isinstance(at, int) else round(at.timestamp() * 1_000)
        return cls(**{**known, "at": millis, "evidence": tuple(known.get("evidence", ()))})
