"""The states of one partition of the observations, written in one transaction with the breaches that follow from them.

Whoever holds a partition holds its transactional id: taking it over ends what the one before had open and refuses all
that it may still write. So the states that are read thereafter are the last ones, and what is written is said once,
however often an agent is killed, suspended or taken for dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from streams import topics
from streams.clients import producer_config, reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.offsets import end_offsets, is_hopeless
from streams.partitioning import partition_of
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.breach import EVENT, Breach
from streams.transactions import TransactionalProducer

__all__ = ["Codecs", "PartitionStore", "agent_group", "read_states"]

State = dict[str, Any]

_LINGER_MS = 0.0
_TIMEOUT_MS = 10_000
_BATCH = 10_000


def agent_group(world: str) -> str:
    """Return the consumer group of a world's agents."""
    return f"{world}.sla-agent"


class Codecs:
    """The encodings of states and breaches.

    Raises:
        RegistryError: if the registry is away, or a schema is not registered.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.breaches = EventCodec(registry, topics.sla_breaches(settings.world), EVENT)
        self._states = EventCodec(registry, topics.sla_state(settings.world), "sla_state")

    def encode(self, state: State) -> bytes:
        """Return the record of a state."""
        return self._states.encode(_each_breach(state, self.breaches.encode))

    def decode(self, payload: bytes) -> State:
        """Return the state of a record."""
        return _each_breach(self._states.decode(payload), self.breaches.decode)


class PartitionStore:
    """Reads and writes the states of one partition.

    Args:
        partition: of the observations, and the same of the states.
        breach_partitions: how many the topic of breaches has.
    """

    def __init__(self, settings: Settings, codecs: Codecs, partition: int, breach_partitions: int) -> None:
        self._settings, self._codecs, self._partition = settings, codecs, partition
        self._states, self._breaches = topics.sla_state(settings.world), topics.sla_breaches(settings.world)
        self._breach_partitions = breach_partitions
        config = producer_config(
            settings,
            transactional_id=f"{agent_group(settings.world)}-{partition}",
            transaction_timeout_ms=_TIMEOUT_MS,
            linger_ms=_LINGER_MS,
            compression="lz4",
        )
        self._producer = TransactionalProducer(config, settings.sla_agent.restore_deadline_s)

    def take_over(self) -> list[State]:
        """Take the partition from whoever held it, and return its states.

        Raises:
            BrokerError: if Kafka does not answer in time.
        """
        self._producer.renew()
        return read_states(self._settings, self._codecs, [self._partition])

    def write(self, states: Sequence[tuple[str, State | None]], breaches: Sequence[Breach]) -> None:
        """Write states, None for one that goes, and breaches: all of them or none.

        Raises:
            TransactionAborted: if it was none; `superseded` if another has taken the partition over.
        """
        payloads = [None if state is None else self._codecs.encode(state) for _, state in states]
        told = [self._codecs.breaches.encode(breach.datum()) for breach in breaches]
        self._producer.begin()
        keys: Iterable[bytes | None] = [key.encode() for key, _ in states]
        self._producer.send(self._states, payloads, keys, [self._partition] * len(payloads))  # type: ignore[arg-type]
        places = [partition_of(breach.key, self._breach_partitions) for breach in breaches]
        self._producer.send(self._breaches, told, [breach.key for breach in breaches], places)
        self._producer.commit()

    def close(self) -> None:
        """Let the partition go."""
        self._producer.close()


def read_states(settings: Settings, codecs: Codecs, partitions: Iterable[int]) -> list[State]:
    """Return the states of partitions as they are now.

    Raises:
        BrokerError: if Kafka does not answer in time.
    """
    topic, deadline = topics.sla_state(settings.world), Deadline(settings.sla_agent.restore_deadline_s)
    wanted = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions]
    ends = end_offsets(settings, wanted, stable=False, deadline=deadline)
    pending = {p for p, end in ends.items() if end > 0}
    newest: dict[tuple[int, bytes], bytes | None] = {}
    reader = Consumer(reader_config(settings))
    try:
        reader.assign([each for each in wanted if each.partition in pending])
        while pending:
            if deadline.passed():
                raise BrokerError(
                    f"the states in {topic} could not be read to the end within {deadline.seconds:g} s (partitions "
                    f"{sorted(pending)}): a transaction may be open; raise seamless.sla_agent.restore_deadline_s or "
                    "look at the broker"
                )
            for message in reader.consume(_BATCH, min(0.5, deadline.left())):
                _take(message, topic, ends, pending, newest)
    finally:
        reader.close()
    return [codecs.decode(payload) for payload in newest.values() if payload is not None]


def _take(
    message: Message, topic: str, ends: dict[int, int], pending: set[int], newest: dict[tuple[int, bytes], bytes | None]
) -> None:
    error, partition, offset = message.error(), message.partition(), message.offset()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        if is_hopeless(error) or error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise BrokerError(f"the states in {topic} cannot be read: {error.str()}")
        return  # the broker is away for a while; the deadline tells when it is too long
    if partition is None or offset is None:
        return
    if error is None:
        newest[partition, message.key() or b""] = message.value()
        offset += 1
    if offset >= ends[partition]:
        pending.discard(partition)


def _each_breach(state: State, change: Callable[[Any], Any]) -> State:
    """Return a state with its breaches encoded or decoded."""
    changed = dict(state)
    if state.get("breach") is not None:
        changed["breach"] = change(state["breach"])
    if state.get("jobs"):
        changed["jobs"] = [
            {**job, "breach": None if job["breach"] is None else change(job["breach"])} for job in state["jobs"]
        ]
    return changed
