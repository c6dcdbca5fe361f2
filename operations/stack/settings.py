"""What the stack consists of and how its parts are set: one table. docker-compose.yml is tested against it.

Addresses, ports and folders differ per stack and are therefore not here; see `broker` and `registry`.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BROKER_SETTINGS",
    "KAFKA_COORDINATES",
    "KAFKA_HEAP",
    "KAFKA_VERSION",
    "REGISTRY_API",
    "REGISTRY_COORDINATE",
    "REGISTRY_HEAP",
    "REGISTRY_SETTINGS",
    "REGISTRY_VERSION",
]

KAFKA_VERSION: Final = "4.3.1"
REGISTRY_VERSION: Final = "3.3.3"
_LOG4J_VERSION: Final = "2.25.4"  # the one Kafka's own distribution carries

KAFKA_COORDINATES: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Named explicitly: resolution would pick 3.9.1, on which the broker dies with NoSuchMethodError.
    f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{_LOG4J_VERSION}",
    f"org.apache.logging.log4j:log4j-core:{_LOG4J_VERSION}",
)
"""What the lock of the broker is resolved from."""

REGISTRY_COORDINATE: Final = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:all:tar.gz"
REGISTRY_API: Final = "/apis/ccompat/v7"
"""Path of the API that confluent-kafka's `SchemaRegistryClient` speaks."""

KAFKA_HEAP: Final = "384m"
REGISTRY_HEAP: Final = "384m"

BROKER_SETTINGS: Final[dict[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    # Topics are declared in one table; a misspelt one must fail instead of appearing.
    "auto.create.topics.enable": "false",
    # One node holds one copy of everything.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Each partition of an internal topic costs start-up time and files.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # A dead worker's partitions must move on within seconds: under KIP-848 the broker sets these timeouts,
    # and its defaults are 45 s.
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "3000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    # A killed broker is let back in once its former self's session has ended; the default is 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Batching of assignments helps groups of hundreds; a group of a few only waits for it.
    "group.consumer.assignment.interval.ms": "0",
    "group.initial.rebalance.delay.ms": "0",
    # Kafka's default. A shorter one lets the first abort fall into the moment after a restart in which partitions have
    # no leader yet; the coordinator then skips their markers for good (docs/decisions/0009-hanging-transactions.md).
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000",
    # The default of 128 MiB is allocated at start, a third of the heap.
    "log.cleaner.dedupe.buffer.size": "16777216",
}
"""Broker settings that are the same wherever the stack runs."""

REGISTRY_SETTINGS: Final[dict[str, str]] = {
    "apicurio.storage.kind": "kafkasql",
    # The registry waits one whole poll before it is ready; the default is 5 s, and it waits twice.
    "apicurio.kafkasql.consumer.poll.timeout": "100",
    # Two consumers that it closes while starting first wait for a fetch under way, by default 0.5 s each.
    "apicurio.kafkasql.consumer.fetch.max.wait.ms": "50",
    "quarkus.otel.sdk.disabled": "true",
    "quarkus.http.access-log.enabled": "false",
}
"""Registry settings that are the same wherever the stack runs, by property name."""
