"""The audit trail: entries are added, and read again; none is ever changed. Policies are set together with theirs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from streams import topics
from streams.clients import producer_config
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.partition_reader import PartitionReader
from streams.registry import Registry
from streams.schema_audit import AuditEntry
from streams.schema_policy import SchemaPolicy
from streams.settings import Settings
from streams.transactions import TransactionAborted, TransactionalProducer

__all__ = ["AuditTrail", "in_transaction", "set_policy"]

_DEADLINE_SECONDS = 30.0
_TIMEOUT_MS = 10_000
_BATCH = 1_000


class AuditTrail:
    """The trail of a world.

    Raises:
        RegistryError: if the topic's subject is not registered.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self.topic = settings, topics.schema_audit(settings.world)
        self.codec = EventCodec(registry, self.topic, "schema_audit")

    def append(self, entries: Iterable[AuditEntry]) -> None:
        """Write entries, all or none.

        Raises:
            BrokerError: if Kafka did not take them.
        """
        found = list(entries)
        if found:
            # Of this process alone: others that write at the same moment must not be fenced.
            in_transaction(self._settings, f"schema.audit.{os.getpid()}", lambda p: self.send(p, found))

    def read(self, since: datetime | None = None, dataset: str | None = None) -> Iterator[AuditEntry]:
        """Yield the entries there are now, oldest first.

        Args:
            since: only those of this aware moment and later.
            dataset: only those of this dataset, and of subjects of its topics.

        Raises:
            BrokerError: if Kafka does not answer, or the topic is not there.
        """
        reader = PartitionReader(self._settings, self.topic, lambda n: list(range(n)), "earliest", until_end=True)
        try:
            while (records := reader.read(_BATCH, _DEADLINE_SECONDS)) is not None:
                for value in records.values:
                    entry = AuditEntry.from_avro(self.codec.decode(value or b""))
                    if (since is None or entry.when >= since) and (dataset is None or self._is_of(entry, dataset)):
                        yield entry
        finally:
            reader.close()

    def _is_of(self, entry: AuditEntry, dataset: str) -> bool:
        own = {topics.subject(spec.name) for spec in topics.dataset_topics(self._settings, dataset)}
        return entry.dataset == dataset or entry.subject in own

    def send(self, producer: TransactionalProducer, entries: Sequence[AuditEntry]) -> None:
        """Write entries within a transaction of the caller's; they count when it is committed."""
        payloads = [self.codec.encode(entry.to_avro()) for entry in entries]
        producer.send(self.topic, payloads, [entry.key for entry in entries], [0] * len(entries))


def set_policy(settings: Settings, registry: Registry, policy: SchemaPolicy, entry: AuditEntry) -> None:
    """Put a policy in force and write its entry, both or neither; of two at once the later wins.

    Raises:
        RegistryError: if a topic's subject is not registered.
        BrokerError: if Kafka did not take them; nothing was changed.
    """
    topic, trail = topics.schema_governance(settings.world), AuditTrail(settings, registry)
    payload = EventCodec(registry, topic, "schema_governance").encode(policy.to_avro())

    def send(producer: TransactionalProducer) -> None:
        producer.send(topic, [payload], [policy.dataset.encode()], [0])
        trail.send(producer, [entry])

    in_transaction(settings, f"schema.policy.{policy.dataset}", send)


def in_transaction(settings: Settings, name: str, send: Callable[[TransactionalProducer], None]) -> None:
    """Send what `send` sends in one transaction, under a name of the world's by which later writers fence earlier ones.

    Raises:
        BrokerError: if Kafka did not take it; nothing was written.
    """
    config = producer_config(
        settings, transactional_id=f"{settings.world}.{name}", transaction_timeout_ms=_TIMEOUT_MS, linger_ms=0
    )
    producer = TransactionalProducer(config, deadline_s=_DEADLINE_SECONDS)
    try:
        producer.begin()
        send(producer)
        producer.commit()
    except TransactionAborted as aborted:
        raise BrokerError(
            f"Kafka did not take the change ({aborted}): nothing was changed. Check that the topics are there "
            "(`seamless topics apply`), and try again."
        ) from aborted
    finally:
        producer.close()
