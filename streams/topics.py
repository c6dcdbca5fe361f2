"""The one table of every topic: what it holds, its key, its schema, its partitions and how long it is kept.

A topic is called `{world}.{name}`. A world has no dot in its name, so no topic of one world can be read as
another's. Nothing else in the product spells a topic name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.settings import DatasetSettings, Settings

__all__ = [
    "DATASET_PATTERN",
    "MAX_TOPIC_NAME",
    "TOPICS",
    "WORLD_PATTERN",
    "Cleanup",
    "Kind",
    "Partitions",
    "TopicDefinition",
    "TopicSpec",
    "backfill_control",
    "backfill_dlq",
    "backfill_leases",
    "backfill_progress",
    "backfill_shards",
    "backfill_shards_urgent",
    "check_dataset_name",
    "check_world",
    "colliding_datasets",
    "conformance_reports",
    "conformance_state",
    "dataset_topics",
    "history",
    "normalized",
    "operations",
    "quarantine",
    "quarantine_state",
    "raw",
    "schema_audit",
    "schema_governance",
    "sla_breaches",
    "sla_observations",
    "sla_state",
    "subject",
    "topic_name",
    "topics_for",
]

WORLD_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,39}$"
DATASET_PATTERN = r"^[a-z0-9]+([._-][a-z0-9]+)*$"
MAX_TOPIC_NAME = 249  # Kafka's own limit

_DAY_MS = 86_400_000
_FOREVER = -1


class Kind(StrEnum):
    """The topics there are; the value is the name after the world, without the dataset."""

    RAW = "raw"
    NORMALIZED = "normalized"
    HISTORY = "history"
    QUARANTINE = "quarantine"
    QUARANTINE_STATE = "quarantine.state"
    CONFORMANCE_STATE = "conformance.state"
    CONFORMANCE_REPORTS = "conformance.reports"
    BACKFILL_SHARDS = "backfill.shards"
    BACKFILL_SHARDS_URGENT = "backfill.shards.urgent"
    BACKFILL_PROGRESS = "backfill.progress"
    BACKFILL_CONTROL = "backfill.control"
    BACKFILL_LEASES = "backfill.leases"
    BACKFILL_DLQ = "backfill.dlq"
    SLA_OBSERVATIONS = "sla.observations"
    SLA_BREACHES = "sla.breaches"
    SLA_STATE = "sla.state"
    SCHEMA_GOVERNANCE = "schema.governance"
    SCHEMA_AUDIT = "schema.audit"
    OPERATIONS = "operations"


class Cleanup(StrEnum):
    """What the broker does with old records: drop them by age, or keep the newest of each key."""

    DELETE = "delete"
    COMPACT = "compact"


class Partitions(StrEnum):
    """Where a topic's partition count comes from."""

    DATASET = "dataset"  # datasets.<name>.partitions: the topics of a dataset are co-partitioned by symbol
    SHARDS = "shards"  # topics.shard_partitions: the most shards that can run at once
    EVENTS = "events"  # topics.event_partitions
    ONE = "one"  # a total order matters more than throughput


@dataclass(frozen=True, slots=True)
class TopicDefinition:
    """One row of the table.

    `key` says what the record's key is. `value` is the name of the Avro record that the value is, or, in
    angle brackets, where its schema comes from. `retention_ms` is None where the dataset's own rules, -1 for
    ever.
    """

    kind: Kind
    per_dataset: bool
    key: str
    value: str
    partitions: Partitions
    cleanup: Cleanup
    retention_ms: int | None
    holds: str
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        """Return the name with its blanks: `{world}.raw.{dataset}`."""
        return f"{{world}}.{self.kind.value}" + (".{dataset}" if self.per_dataset else "")


# The broker stamps the arrival: a producer's clock need not be trusted, and retention by age cannot drop a
# record for carrying a time of ten years ago.
_ARRIVAL = {"message.timestamp.type": "LogAppendTime"}
# The writer stamps the time at which the source record arrived, so latency can be read from the topic itself.
_CARRIED = {"message.timestamp.type": "CreateTime"}
# Small state is read in full at every start: compact early, roll often, keep tombstones for a day.
_STATE = {
    **_CARRIED,
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": "3600000",
    "delete.retention.ms": str(_DAY_MS),
}
# A quarantined record is a whole raw record (up to the broker's 1 MiB default) and the reasons beside it.
_WRAPPED = {**_CARRIED, "max.message.bytes": str(2 * 1024 * 1024)}


def _table(*rows: TopicDefinition) -> Mapping[Kind, TopicDefinition]:
    return MappingProxyType({row.kind: row for row in rows})


TOPICS: Mapping[Kind, TopicDefinition] = _table(
    TopicDefinition(
        kind=Kind.RAW,
        per_dataset=True,
        key="symbol",
        value="<the producer's own schema>",
        partitions=Partitions.DATASET,
        cleanup=Cleanup.DELETE,
        retention_ms=None,
        holds="Market data as a governed producer wrote it; the only input of the normalizer.",
        config=_ARRIVAL,
    ),
    TopicDefinition(
        kind=Kind.NORMALIZED,
        per_dataset=True,
        key="symbol",
        value="<the dataset's contract>",
        partitions=Partitions.DATASET,
        cleanup=Cleanup.DELETE,
        retention_ms=None,
        holds="Rows that conform to the contract, each with its flags, in the order of their raw records.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.HISTORY,
        per_dataset=True,
        key="symbol",
        value="<the dataset's contract>",
        partitions=Partitions.DATASET,
        cleanup=Cleanup.DELETE,
        retention_ms=None,
        holds="Conforming rows of the past, fetched by backfill to fill the holes of the normalized series.",
        config=_ARRIVAL,
    ),
    TopicDefinition(
        kind=Kind.QUARANTINE,
        per_dataset=True,
        key="symbol",
        value="QuarantinedRow",
        partitions=Partitions.DATASET,
        cleanup=Cleanup.DELETE,
        retention_ms=90 * _DAY_MS,
        holds="Rows that failed, with their reasons, original bytes, and source topic, partition and offset.",
        config=_WRAPPED,
    ),
    TopicDefinition(
        kind=Kind.QUARANTINE_STATE,
        per_dataset=True,
        key="source topic, partition and offset",
        value="QuarantineState",
        partitions=Partitions.DATASET,
        cleanup=Cleanup.COMPACT,
        retention_ms=_FOREVER,
        holds="Which quarantined rows were replayed or dismissed, so that none is replayed twice.",
        config=_STATE,
    ),
    TopicDefinition(
        kind=Kind.CONFORMANCE_STATE,
        per_dataset=True,
        key="symbol",
        value="ConformanceState",
        partitions=Partitions.DATASET,
        cleanup=Cleanup.COMPACT,
        retention_ms=_FOREVER,
        holds="What conformance remembers of each key: the newest event time and the latest identities.",
        config=_STATE,
    ),
    TopicDefinition(
        kind=Kind.CONFORMANCE_REPORTS,
        per_dataset=False,
        key="dataset and source partition",
        value="ConformanceReport",
        partitions=Partitions.EVENTS,
        cleanup=Cleanup.DELETE,
        retention_ms=30 * _DAY_MS,
        holds="What was flagged in each batch, per flag and column, with offset range and first offenders.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.BACKFILL_SHARDS,
        per_dataset=False,
        key="shard id",
        value="BackfillShard",
        partitions=Partitions.SHARDS,
        cleanup=Cleanup.DELETE,
        retention_ms=_FOREVER,
        holds="Pieces of history to fetch; the assignment of a partition is the lease of its next shard.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.BACKFILL_SHARDS_URGENT,
        per_dataset=False,
        key="shard id",
        value="BackfillShard",
        partitions=Partitions.SHARDS,
        cleanup=Cleanup.DELETE,
        retention_ms=_FOREVER,
        holds="Shards that somebody waits for: taken before those of the ordinary queue.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.BACKFILL_PROGRESS,
        per_dataset=False,
        key="job id or shard id",
        value="BackfillProgress",
        partitions=Partitions.EVENTS,
        cleanup=Cleanup.COMPACT,
        retention_ms=_FOREVER,
        holds="The newest state of every job and shard; the coordinator's view is rebuilt from it.",
        config=_STATE,
    ),
    TopicDefinition(
        kind=Kind.BACKFILL_CONTROL,
        per_dataset=False,
        key="job id or shard id",
        value="BackfillControl",
        partitions=Partitions.ONE,
        cleanup=Cleanup.COMPACT,
        retention_ms=_FOREVER,
        holds="An operator's orders to workers: pause, resume, cancel, skip or release.",
        config=_STATE,
    ),
    TopicDefinition(
        kind=Kind.BACKFILL_LEASES,
        per_dataset=False,
        key="shard id",
        value="BackfillLease",
        partitions=Partitions.ONE,
        cleanup=Cleanup.DELETE,
        retention_ms=90 * _DAY_MS,
        holds="Who took, kept, lost and finished each shard, and when: the history behind an explanation.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.BACKFILL_DLQ,
        per_dataset=False,
        key="shard id",
        value="BackfillShard",
        partitions=Partitions.ONE,
        cleanup=Cleanup.DELETE,
        retention_ms=90 * _DAY_MS,
        holds="Shards that failed for good, with the error that ended them.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.SLA_OBSERVATIONS,
        per_dataset=False,
        key="objective",
        value="SlaObservation",
        partitions=Partitions.EVENTS,
        cleanup=Cleanup.DELETE,
        retention_ms=7 * _DAY_MS,
        holds="Every phase timing and every watermark; what the SLA agent folds into windows.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.SLA_BREACHES,
        per_dataset=False,
        key="breach id",
        value="SlaBreach",
        partitions=Partitions.EVENTS,
        cleanup=Cleanup.DELETE,
        retention_ms=90 * _DAY_MS,
        holds="Broken promises: each opens once and resolves once.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.SLA_STATE,
        per_dataset=False,
        key="objective and series",
        value="SlaState",
        partitions=Partitions.EVENTS,
        cleanup=Cleanup.COMPACT,
        retention_ms=_FOREVER,
        holds="Windows that are still open, and up to where the observations of the same partition are folded.",
        config=_STATE,
    ),
    TopicDefinition(
        kind=Kind.SCHEMA_GOVERNANCE,
        per_dataset=False,
        key="dataset",
        value="SchemaGovernance",
        partitions=Partitions.ONE,
        cleanup=Cleanup.COMPACT,
        retention_ms=_FOREVER,
        holds="How each dataset's schemas are judged at run time: optional, canary or strict, and since when.",
        config=_STATE,
    ),
    TopicDefinition(
        kind=Kind.SCHEMA_AUDIT,
        per_dataset=False,
        key="dataset or subject",
        value="SchemaAudit",
        partitions=Partitions.ONE,
        cleanup=Cleanup.DELETE,
        retention_ms=_FOREVER,
        holds="Every registration, change of mode, exception used and refusal: who, when, what, why, before, after.",
        config=_CARRIED,
    ),
    TopicDefinition(
        kind=Kind.OPERATIONS,
        per_dataset=False,
        key="operation id",
        value="Operation",
        partitions=Partitions.ONE,
        cleanup=Cleanup.DELETE,
        retention_ms=_FOREVER,
        holds="Rollbacks, overrides and deploys, in their order: what is in force at run time, by whom and why.",
        config=_CARRIED,
    ),
)


def check_world(world: str) -> str:
    """Return the world if topics can be named after it; raise ValueError with the form if not."""
    if re.fullmatch(WORLD_PATTERN, world) is None:
        raise ValueError("a world's name is lower-case letters, digits, - and _, at most 40 of them")
    return world


def check_dataset_name(name: str) -> str:
    """Return the name if topics can be built from it; raise ValueError with the reason if not."""
    if re.fullmatch(DATASET_PATTERN, name) is None:
        raise ValueError(
            "a dataset's name is lower-case letters and digits, joined by single dots, dashes or underscores"
        )
    if re.split(r"[._]", name)[0] == "state":
        # quarantine.<state.x> would be quarantine.state.<x>; Kafka takes the underscore for the same name
        raise ValueError("a dataset name may not begin with the word state: the state topics of a dataset use it")
    longest = max(len(row.pattern.format(world="w" * 40, dataset=name)) for row in TOPICS.values())
    if longest > MAX_TOPIC_NAME:
        raise ValueError(
            f"too long by {longest - MAX_TOPIC_NAME}: Kafka ends topic names at {MAX_TOPIC_NAME} characters"
        )
    return name


def colliding_datasets(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of names that Kafka would not tell apart: its metrics write `.` as `_`."""
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        first = seen.setdefault(name.replace("_", "."), name)
        if first != name:
            pairs.append((first, name))
    return pairs


def topic_name(kind: Kind, world: str, dataset: str | None = None) -> str:
    """Return the full name of a topic; ValueError if the world or the dataset cannot stand in it."""
    row = TOPICS[kind]
    check_world(world)
    if row.per_dataset != (dataset is not None):
        raise ValueError(f"{row.pattern} " + ("needs a dataset" if row.per_dataset else "belongs to no dataset"))
    return row.pattern.format(world=world, dataset=None if dataset is None else check_dataset_name(dataset))


def subject(topic: str) -> str:
    """Return the registry subject that governs the values of a topic."""
    return f"{topic}-value"


def raw(world: str, dataset: str) -> str:
    """Return the topic that producers of a dataset write."""
    return topic_name(Kind.RAW, world, dataset)


def normalized(world: str, dataset: str) -> str:
    """Return the topic of a dataset's conforming rows."""
    return topic_name(Kind.NORMALIZED, world, dataset)


def history(world: str, dataset: str) -> str:
    """Return the topic of a dataset's backfilled rows."""
    return topic_name(Kind.HISTORY, world, dataset)


def quarantine(world: str, dataset: str) -> str:
    """Return the topic of a dataset's failed rows."""
    return topic_name(Kind.QUARANTINE, world, dataset)


def quarantine_state(world: str, dataset: str) -> str:
    """Return the compacted topic saying which quarantined rows were replayed."""
    return topic_name(Kind.QUARANTINE_STATE, world, dataset)


def conformance_state(world: str, dataset: str) -> str:
    """Return the compacted topic of what conformance remembers per key."""
    return topic_name(Kind.CONFORMANCE_STATE, world, dataset)


def conformance_reports(world: str) -> str:
    """Return the topic of conformance reports."""
    return topic_name(Kind.CONFORMANCE_REPORTS, world)


def backfill_shards(world: str) -> str:
    """Return the queue of shards."""
    return topic_name(Kind.BACKFILL_SHARDS, world)


def backfill_shards_urgent(world: str) -> str:
    """Return the queue of shards that somebody waits for."""
    return topic_name(Kind.BACKFILL_SHARDS_URGENT, world)


def backfill_progress(world: str) -> str:
    """Return the compacted topic of jobs and shards."""
    return topic_name(Kind.BACKFILL_PROGRESS, world)


def backfill_control(world: str) -> str:
    """Return the compacted topic of operators' orders."""
    return topic_name(Kind.BACKFILL_CONTROL, world)


def backfill_leases(world: str) -> str:
    """Return the log of what happened to the leases of shards."""
    return topic_name(Kind.BACKFILL_LEASES, world)


def backfill_dlq(world: str) -> str:
    """Return the topic of shards that failed for good."""
    return topic_name(Kind.BACKFILL_DLQ, world)


def sla_observations(world: str) -> str:
    """Return the topic of phase timings and watermarks."""
    return topic_name(Kind.SLA_OBSERVATIONS, world)


def sla_breaches(world: str) -> str:
    """Return the topic of broken promises."""
    return topic_name(Kind.SLA_BREACHES, world)


def sla_state(world: str) -> str:
    """Return the compacted topic of the SLA agent's windows."""
    return topic_name(Kind.SLA_STATE, world)


def schema_governance(world: str) -> str:
    """Return the compacted topic of how each dataset's schemas are judged."""
    return topic_name(Kind.SCHEMA_GOVERNANCE, world)


def schema_audit(world: str) -> str:
    """Return the trail of what was done about schemas."""
    return topic_name(Kind.SCHEMA_AUDIT, world)


def operations(world: str) -> str:
    """Return the log of what operators did to the running system."""
    return topic_name(Kind.OPERATIONS, world)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should exist.

    `replication_factor` -1 leaves the choice to the broker. `config` holds the keys that Seamless depends on
    and is silent on all others.
    """

    name: str
    kind: Kind
    dataset: str | None
    partitions: int
    replication_factor: int
    config: Mapping[str, str]

    @property
    def holds(self) -> str:
        """Return the sentence saying what is in the topic."""
        return TOPICS[self.kind].holds


def dataset_topics(settings: Settings, dataset: str) -> list[TopicSpec]:
    """Return the topics of one dataset; SettingsError if it is not configured."""
    wanted = settings.dataset(dataset)
    return [_spec(row, settings, dataset, wanted) for row in TOPICS.values() if row.per_dataset]


def topics_for(settings: Settings) -> list[TopicSpec]:
    """Return every topic the settings call for: those of the world, then each dataset's by name."""
    shared = [_spec(row, settings, None, None) for row in TOPICS.values() if not row.per_dataset]
    return shared + [spec for name in sorted(settings.datasets) for spec in dataset_topics(settings, name)]


def _spec(row: TopicDefinition, settings: Settings, dataset: str | None, wanted: DatasetSettings | None) -> TopicSpec:
    counts = {
        Partitions.DATASET: wanted.partitions if wanted else 0,
        Partitions.SHARDS: settings.topics.shard_partitions,
        Partitions.EVENTS: settings.topics.event_partitions,
        Partitions.ONE: 1,
    }
    config = {"cleanup.policy": row.cleanup.value, **row.config}
    if row.cleanup is Cleanup.DELETE:
        own = row.retention_ms if row.retention_ms is not None or wanted is None else wanted.retention_ms()
        config["retention.ms"] = str(own)
    if settings.topics.min_insync_replicas is not None:
        config["min.insync.replicas"] = str(settings.topics.min_insync_replicas)
    return TopicSpec(
        name=topic_name(row.kind, settings.world, dataset),
        kind=row.kind,
        dataset=dataset,
        partitions=counts[row.partitions],
        replication_factor=settings.topics.replication_factor,
        config=config,
    )
