"""What commands write into the audit trail of what they did."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable, Sequence

import typer

from streams import topics
from streams.audit_trail import AuditTrail
from streams.clock import now_ms
from streams.errors import SeamlessError
from streams.registry import Registry
from streams.schema_admin import SubjectVerdict, WantedSubject
from streams.schema_audit import AuditEntry
from streams.settings import Settings
from streams.topic_admin import TopicAdmin

__all__ = ["record", "record_refusal", "record_registrations", "who"]

_PATIENCE_SECONDS = 5.0


def who() -> str:
    """Return who runs this command: user and host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def record_registrations(settings: Settings, registry: Registry, verdicts: Iterable[SubjectVerdict]) -> None:
    """Write down what was registered just now."""
    at, by = now_ms(), who()
    record(
        settings,
        registry,
        [
            AuditEntry(
                at,
                by,
                "registered",
                v.wanted.dataset,
                v.wanted.subject,
                v.id,
                v.version,
                before="nothing" if v.version == 1 else f"version {(v.version or 1) - 1}",
                after=f"version {v.version}, of {v.wanted.source}",
            )
            for v in verdicts
            if v.written
        ],
    )


def record_refusal(settings: Settings, registry: Registry, wanted: Sequence[WantedSubject], reason: str) -> None:
    """Write down that nothing was registered, and why."""
    datasets = {w.dataset for w in wanted if w.dataset is not None}
    subjects = {w.subject for w in wanted}
    entry = AuditEntry(
        now_ms(),
        who(),
        "refused",
        datasets.pop() if len(datasets) == 1 else None,
        subjects.pop() if len(subjects) == 1 else None,
        reason=reason,
    )
    record(settings, registry, [entry])


def record(settings: Settings, registry: Registry, entries: Sequence[AuditEntry]) -> None:
    """Write entries; where the trail cannot be written that is said, as what was done is done.

    A registry can be filled before there is any topic: what the trail misses, `seamless schema audit` finds.
    """
    if not entries:
        return
    topic = topics.schema_audit(settings.world)
    try:
        if topic not in TopicAdmin(settings.kafka, timeout=_PATIENCE_SECONDS).existing([topic]):
            raise SeamlessError(f"there is no topic {topic} yet: `seamless topics apply` makes it")
        AuditTrail(settings, registry).append(entries)
    except SeamlessError as error:
        typer.echo(
            f"note: the audit trail does not have this ({error}). Write it down later with "
            "`seamless schema audit --acknowledge`.",
            err=True,
        )
