"""The Kafka and the registry that a benchmark runs on, reduced to what it asks of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

__all__ = ["PARTITIONS", "Broker"]

PARTITIONS = 4

_TIMEOUT = 30.0
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Broker:
    """Addresses of a running cluster and its schema registry."""

    bootstrap: str
    registry_url: str

    @property
    def client(self) -> dict[str, str | int | float]:
        """Return what the benchmark's own clients start from; they are silent about lost connections."""
        return {"bootstrap.servers": self.bootstrap, "log_level": 2}

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient(self.client)

    def create_topic(self, name: str) -> None:
        """Create a topic whose records carry the time at which the broker appended them."""
        config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
        topic = NewTopic(name, PARTITIONS, 1, config=config)
        self._admin.create_topics([topic])[name].result(_TIMEOUT)

    def delete_topics(self, names: Sequence[str]) -> None:
        """Delete topics."""
        for future in self._admin.delete_topics(list(names)).values():
            future.result(_TIMEOUT)

    def visible_offsets(self, topic: str) -> int:
        """Return the sum of the offsets up to which a `read_committed` reader can read.

        In a transactional topic this counts the commit markers too, so it is never below the number of
        visible records.
        """
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        deadline = time.monotonic() + _TIMEOUT
        while True:
            futures = self._admin.list_offsets(
                dict.fromkeys(partitions, _LATEST),
                isolation_level=IsolationLevel.READ_COMMITTED,
            )
            try:
                return sum(future.result(_TIMEOUT).offset for future in futures.values())
            except KafkaException:  # a topic that has just been created has no leaders yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def register(self, subject: str, schema: str) -> int:
        """Register an Avro schema and return its id."""
        client = SchemaRegistryClient({"url": self.registry_url})
        return int(client.register_schema(subject, Schema(schema, "AVRO")))
