"""Everything that a time line is made of, read from the topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.report import ConformanceReport
from streams import topics
from streams.audit_trail import AuditTrail
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.operating.recording import standing_now
from streams.partition_reader import PartitionReader
from streams.postmortem.timeline import Event, Impact, impact_of, of_audit, of_breaches, of_operations, of_reports
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.breach import EVENT, Breach

__all__ = ["Story", "gathered"]

_BATCH, _SILENCE_S = 1_000, 30.0


@dataclass(frozen=True, slots=True)
class Story:
    """What happened between two moments, in its order, and what it came to."""

    begin: datetime
    end: datetime
    events: tuple[Event, ...]
    impact: Impact


def gathered(
    settings: Settings, registry: Registry, begin: datetime, end: datetime, tell: Callable[[str], None]
) -> Story:
    """Read what happened between two aware moments; changes nothing.

    Args:
        tell: told in a few words what is read, as it may take a while.

    Raises:
        RegistryError: if a topic's subject is not registered.
        BrokerError: if a topic cannot be read.
    """
    world = settings.world
    tell("operations")
    events = [*of_operations(standing_now(settings, registry).done)]
    tell("the audit trail")
    events += of_audit(AuditTrail(settings, registry).read(begin))
    # All of them: what was open when it began may have opened long before.
    breaches = [
        Breach.from_datum(each)
        for each in _records(settings, registry, topics.sla_breaches(world), EVENT, "earliest", tell)
    ]
    events += of_breaches(breaches)
    reports = _records(settings, registry, topics.conformance_reports(world), "conformance_report", begin, tell)
    events += of_reports(map(ConformanceReport.from_avro, reports))
    within = tuple(sorted(event for event in events if begin <= event.at <= end))
    return Story(begin, end, within, impact_of(breaches, begin, end))


def _records(
    settings: Settings, registry: Registry, topic: str, event: str, start: Any, tell: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Yield what is committed to a topic from `start` on, up to its end; never a part of it only."""
    codec = EventCodec(registry, topic, event)
    reader = PartitionReader(settings, topic, lambda n: list(range(n)), start, until_end=True)
    read = 0
    with closing(reader):
        while (records := reader.read(_BATCH, _SILENCE_S)) is not None:
            read += len(records.values)
            tell(f"{read:,} records of {topic}")
            yield from (codec.decode(value) for value in records.values if value is not None)
        if not reader.at_end:
            raise BrokerError(f"{topic} could not be read to its end: the broker fell silent, or a transaction is open")
