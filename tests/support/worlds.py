"""A world of a test's own: its settings file, its topics and its registered schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from operations.testing.worlds import settings_text
from schemas.contract import load_contract
from schemas.events import load_event
from streams import topics
from streams.clients import producer_config, reader_config
from streams.clock import Deadline
from streams.events import EventCodec
from streams.offsets import end_offsets
from streams.registry import RegisteredSchema, Registry
from streams.schema_admin import wanted_subjects
from streams.settings import Settings, load_settings
from streams.topic_admin import TopicAdmin

DATASET = "bars"
_SHARED = {
    topics.Kind.CONFORMANCE_REPORTS,
    topics.Kind.SCHEMA_GOVERNANCE,
    topics.Kind.SCHEMA_AUDIT,
    topics.Kind.OPERATIONS,
}


@dataclass(frozen=True)
class World:
    """A prepared world with one dataset."""

    settings: Settings
    config: Path
    registry: Registry
    raw_schema: RegisteredSchema
    contract_schema: RegisteredSchema

    @property
    def name(self) -> str:
        return self.settings.world

    def topic(self, kind: str) -> str:
        """Return a topic of the dataset by kind: raw, normalized, quarantine, conformance_state."""
        made: str = getattr(topics, kind)(self.name, DATASET)
        return made

    def produce(self, records: Iterable[tuple[int, bytes | None, bytes | None]]) -> None:
        """Write (partition, key, value) records to the raw topic and wait until all arrived."""
        failures: list[Any] = []
        producer = Producer(producer_config(self.settings))

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failures.append(error)

        for partition, key, value in records:
            while True:
                try:
                    producer.produce(self.topic("raw"), value, key, partition, delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(30) == 0
        assert not failures, failures[0]

    def event_codec(self, kind: str, event: str) -> EventCodec:
        """Return the codec of the events in a topic of the dataset."""
        return EventCodec(self.registry, self.topic(kind), event)

    def read(self, topic: str, *, seconds: float = 60.0) -> list[Message]:
        """Return every committed record of a topic, up to its last stable offsets as they are now."""
        return read_committed(self.settings, topic, seconds=seconds)


def make_world(
    stack: Any,
    name: str,
    folder: Path,
    *,
    contract: str = "ohlcv",
    raw: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    **sections: Mapping[str, Any],
) -> World:
    """Create a world with the dataset `bars`: one-minute bars around the clock in four partitions, blocking mode.

    Args:
        raw: the raw subject's schema; the contract itself if not given.
        dataset: settings of the dataset that differ.
        sections: other sections of the settings, such as normalizer or quarantine.
    """
    wanted = {"contract": contract, "interval": "1m", "calendar": "24/7", "mode": "blocking", **(dataset or {})}
    values: dict[str, Any] = {
        "world": name,
        "kafka": {"bootstrap_servers": stack.bootstrap_servers},
        "registry": {"url": stack.registry_url},
        "datasets": {DATASET: {k: v for k, v in wanted.items() if v is not None}},
        **sections,
    }
    config = folder / f"{name}.toml"
    config.write_text(settings_text(values), encoding="utf-8")
    settings = load_settings(config, env={})
    shared = [t for t in topics.topics_for(settings) if t.kind in _SHARED]
    TopicAdmin(settings.kafka).apply([*topics.dataset_topics(settings, DATASET), *shared])
    registry = Registry(settings.registry)
    schema = load_contract(contract).schema

    registered = register_all(
        registry,
        {
            topics.raw(name, DATASET): raw or schema,
            topics.normalized(name, DATASET): schema,
            topics.quarantine(name, DATASET): load_event("quarantined_row"),
            topics.quarantine_state(name, DATASET): load_event("quarantine_state"),
            topics.conformance_state(name, DATASET): load_event("conformance_state"),
            topics.conformance_reports(name): load_event("conformance_report"),
            topics.schema_governance(name): load_event("schema_governance"),
            topics.schema_audit(name): load_event("schema_audit"),
            topics.operations(name): load_event("operation"),
        },
    )
    return World(
        settings,
        config,
        registry,
        registered[topics.raw(name, DATASET)],
        registered[topics.normalized(name, DATASET)],
    )


def make_backfill_world(stack: Any, name: str, folder: Path, *, shard_partitions: int = 6, **arguments: Any) -> World:
    """Create a world as `make_world` does, with the topics and schemas of backfill.

    Args:
        shard_partitions: partitions of each of the two queues.
        arguments: those of `make_world`.
    """
    sections = {"topics": {"shard_partitions": shard_partitions, **arguments.pop("topics", {})}, **arguments}
    world = make_world(stack, name, folder, **sections)
    wanted = {t.name for t in topics.topics_for(world.settings) if t.kind.value.startswith("backfill.")}
    TopicAdmin(world.settings.kafka).apply([t for t in topics.topics_for(world.settings) if t.name in wanted])
    schemas = {w.subject: w.schema for w in wanted_subjects(world.settings) if w.schema is not None}
    register_all(world.registry, {t: schemas[topics.subject(t)] for t in (*wanted, topics.history(name, DATASET))})
    return world


def register_all(registry: Registry, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, RegisteredSchema]:
    """Register the schemas of topics side by side: each waits for the registry's own topic, most tests for these."""
    with ThreadPoolExecutor(len(wanted)) as pool:
        done = pool.map(lambda topic: registry.register(topics.subject(topic), dict(wanted[topic])), wanted)
        return dict(zip(wanted, done, strict=True))


def read_committed(settings: Settings, topic: str, *, seconds: float = 60.0) -> list[Message]:
    """Return every committed record of a topic, partition by partition in offset order."""
    reader = Consumer(reader_config(settings))
    deadline = Deadline(seconds)
    try:
        count = len(reader.list_topics(topic, timeout=10).topics[topic].partitions)
        starts = [TopicPartition(topic, p, 0) for p in range(count)]
        ends = end_offsets(settings, starts, stable=True, deadline=deadline)
        pending = {p for p, end in ends.items() if end > 0}
        reader.assign([s for s in starts if s.partition in pending])
        found: list[Message] = []
        while pending:
            assert not deadline.passed(), f"{topic} could not be read to its end"
            for message in reader.consume(10_000, 0.5):
                if message.error() is None:
                    found.append(message)
                elif (message.offset() or 0) >= ends[message.partition() or 0]:
                    pending.discard(message.partition() or 0)
    finally:
        reader.close()
    return sorted(found, key=lambda m: (m.partition(), m.offset()))
