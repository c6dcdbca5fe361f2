"""Worlds whose raw topic holds rows of schemas that strict refuses, and policies that are set while processes run."""

from __future__ import annotations

import copy
from typing import Any

from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.report import ConformanceReport
from streams import topics
from streams.audit_trail import set_policy
from streams.clock import now_ms
from streams.events import EventCodec
from streams.schema_audit import AuditEntry
from streams.schema_policy import SchemaPolicy
from tests.support.bars import good_bar
from tests.support.worlds import DATASET, World

__all__ = ["Writer", "audit_of", "reports_of", "set_mode"]


class Writer:
    """Writes bars of one schema into a world's raw topic.

    Args:
        subject: where the schema is registered; the raw subject if not given.
        field: changes of one field of the contract, or a new field.
    """

    def __init__(self, world: World, *, subject: str | None = None, **field: Any) -> None:
        self.world = world
        schema = copy.deepcopy(world.raw_schema.schema)
        if field:
            have = next((f for f in schema["fields"] if f["name"] == field["name"]), None)
            if have is None:
                schema["fields"].append(have := {})
            have.update(field)
        self.registered = world.registry.register(subject or topics.subject(world.topic("raw")), schema)
        self.id = self.registered.id
        self._codec = ReferenceCodec(parse_record(schema), self.id)
        self._more = {"close": "100.5"} if field.get("name") == "close" else {"venue": "X", "lot": 1}

    def rows(
        self, symbols: list[str], minutes: range, partition: int = 0, **changes: Any
    ) -> list[tuple[int, bytes, bytes]]:
        """Return the raw records of bars: (partition, key, value)."""
        return [
            (partition, s.encode(), self._codec.encode_one(good_bar(s, m, **changes) | self._more))
            for m in minutes
            for s in symbols
        ]

    def write(self, symbols: list[str], minutes: range, partition: int = 0, **changes: Any) -> None:
        """Write bars and wait until they arrived; `changes` replace fields."""
        self.world.produce(self.rows(symbols, minutes, partition, **changes))


def set_mode(world: World, mode: str, **more: Any) -> SchemaPolicy:
    """Put a mode in force, as `seamless schema mode` does."""
    policy = SchemaPolicy(DATASET, mode, by="a test", reason="to see what happens", at=now_ms(), **more)  # type: ignore[arg-type]
    entry = AuditEntry(policy.at, policy.by, "mode", DATASET, after=policy.words(), reason=policy.reason)
    set_policy(world.settings, world.registry, policy, entry)
    return policy


def reports_of(world: World) -> list[ConformanceReport]:
    """Return all committed reports of the dataset."""
    topic = topics.conformance_reports(world.name)
    codec = EventCodec(world.registry, topic, "conformance_report")
    return [ConformanceReport.from_avro(codec.decode(m.value() or b"")) for m in world.read(topic)]


def audit_of(world: World) -> list[AuditEntry]:
    """Return the audit trail."""
    topic = topics.schema_audit(world.name)
    codec = EventCodec(world.registry, topic, "schema_audit")
    return [AuditEntry.from_avro(codec.decode(m.value() or b"")) for m in world.read(topic)]
