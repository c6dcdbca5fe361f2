"""Registrations behind our back: versions in the registry that the audit trail knows nothing of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from streams.registry import Registry
from streams.schema_admin import wanted_subjects
from streams.schema_audit import AuditEntry
from streams.settings import Settings

__all__ = ["Unrecorded", "unrecorded"]

_RECORDS = frozenset({"registered", "imported"})


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A version that somebody registered without our tools."""

    subject: str
    version: int
    dataset: str | None

    def __str__(self) -> str:
        return (
            f"version {self.version} of {self.subject} was registered behind the trail's back: find out who did it, "
            "and write it down with `seamless schema audit --acknowledge` and the reason"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for output."""
        return asdict(self)


def unrecorded(
    settings: Settings, registry: Registry, entries: Iterable[AuditEntry], dataset: str | None = None
) -> list[Unrecorded]:
    """Compare the registry's subjects of a world (or of one dataset) with the trail.

    Raises:
        RegistryError: if the registry does not answer.
    """
    told = {(entry.subject, entry.version) for entry in entries if entry.what in _RECORDS}
    return [
        Unrecorded(wanted.subject, version, wanted.dataset)
        for wanted in wanted_subjects(settings, dataset)
        if dataset is None or wanted.dataset == dataset
        for version in registry.versions(wanted.subject)
        if (wanted.subject, version) not in told
    ]
