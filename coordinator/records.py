"""The control plane on the wire: its topics, the codecs of its records, and where each record goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from coordinator.lease_event import LeaseEvent
from coordinator.orders import Order
from coordinator.shards import Job, Progress, Shard
from streams import topics
from streams.errors import BrokerError, RegistryError
from streams.events import EventCodec
from streams.registry import Registry
from streams.settings import Settings
from streams.topic_admin import TopicAdmin
from streams.transactions import TransactionalProducer

__all__ = ["BY_KEY", "ControlPlane", "Event", "Outgoing", "send"]

Event = Shard | Job | Progress | Order | LeaseEvent
Made = TypeVar("Made")

BY_KEY = -1  # the producer's partitioner chooses: murmur2 of the key


class Outgoing(NamedTuple):
    """A record that is ready to be sent."""

    topic: str
    payload: bytes
    key: bytes
    partition: int


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Topics and codecs of a world's control plane, looked up once.

    Attributes:
        shards, urgent, progress, control, leases, dlq: names of the topics.
        partitions: how many each topic has, by name, as the broker says.
    """

    shards: str
    urgent: str
    progress: str
    control: str
    leases: str
    dlq: str
    partitions: Mapping[str, int]
    _shard: EventCodec
    _urgent: EventCodec
    _progress: EventCodec
    _control: EventCodec
    _lease: EventCodec
    _dlq: EventCodec

    @classmethod
    def prepare(cls, settings: Settings, registry: Registry, *, timeout: float = 15.0) -> ControlPlane:
        """Look everything up; Kafka has `timeout` seconds for each answer.

        Raises:
            BrokerError: if a topic is missing, the queues differ in their partitions, or Kafka cannot be reached.
            RegistryError: if a subject is not registered, or the registry cannot be reached.
        """
        world = settings.world
        shards, urgent = topics.backfill_shards(world), topics.backfill_shards_urgent(world)
        progress, control = topics.backfill_progress(world), topics.backfill_control(world)
        leases, dlq = topics.backfill_leases(world), topics.backfill_dlq(world)
        names = (shards, urgent, progress, control, leases, dlq)
        found = TopicAdmin(settings.kafka, timeout=timeout).existing(names)
        missing = [name for name in names if name not in found]
        if missing:
            raise BrokerError(f"there is no topic {', '.join(missing)}: run `seamless topics apply`")
        partitions = {name: found[name].partitions for name in names}
        if partitions[shards] != partitions[urgent]:
            raise BrokerError(
                f"{shards} has {partitions[shards]} partitions and {urgent} has {partitions[urgent]}: give both as "
                "many, as a shard may stand in either"
            )
        return cls(
            shards=shards,
            urgent=urgent,
            progress=progress,
            control=control,
            leases=leases,
            dlq=dlq,
            partitions=partitions,
            _shard=EventCodec(registry, shards, "backfill_shard"),
            _urgent=EventCodec(registry, urgent, "backfill_shard"),
            _progress=EventCodec(registry, progress, "backfill_progress"),
            _control=EventCodec(registry, control, "backfill_control"),
            _lease=EventCodec(registry, leases, "backfill_lease"),
            _dlq=EventCodec(registry, dlq, "backfill_shard"),
        )

    @property
    def queue_partitions(self) -> int:
        """How many partitions each of the two queues has."""
        return self.partitions[self.shards]

    def queue(self, *, urgent: bool) -> str:
        """Return the topic of the ordinary or of the urgent queue."""
        return self.urgent if urgent else self.shards

    def encode(self, event: Event) -> Outgoing:
        """Return the record of an event: a shard for its queue, all others for the one topic that holds them."""
        match event:
            case Shard():
                codec = self._urgent if event.urgent else self._shard
                payload = codec.encode(event.to_avro())
                return Outgoing(self.queue(urgent=event.urgent), payload, event.id.encode(), event.partition)
            case Job():
                return Outgoing(self.progress, self._progress.encode(event.to_avro()), event.id.encode(), BY_KEY)
            case Progress():
                payload = self._progress.encode(event.to_avro())
                return Outgoing(self.progress, payload, event.shard.id.encode(), BY_KEY)
            case Order():
                return Outgoing(self.control, self._control.encode(event.to_avro()), event.target.encode(), 0)
            case LeaseEvent():
                return Outgoing(self.leases, self._lease.encode(event.to_avro()), event.shard.encode(), 0)

    def dead_letter(self, shard: Shard) -> Outgoing:
        """Return the record of a shard that failed; its `error` says why."""
        return Outgoing(self.dlq, self._dlq.encode(shard.to_avro()), shard.id.encode(), 0)

    def knows(self, payload: bytes) -> bool:
        """Whether the registry need not be asked for the schema of a shard's record."""
        return self._shard.knows(payload)

    def decode_shard(self, payload: bytes) -> Shard:
        """Return the shard of a record of a queue or of the dead-letter topic; errors are those of `decode`."""
        return _made(Shard.from_avro, Shard, self._shard.decode(payload))

    def decode(self, topic: str, payload: bytes) -> Event:
        """Return the event of a record of one of the topics.

        Raises:
            RegistryError: if the payload names no schema that the registry knows; RegistryUnavailable if it is away.
            Exception: any other, if the payload is damaged or of a kind that this program does not know.
        """
        if topic == self.progress:
            datum = self._progress.decode(payload)
            if datum["shard"] is not None:
                return _progress(datum["shard"])
            return _made(Job.from_avro, Job, datum["job"])
        if topic == self.control:
            return _made(Order.from_avro, Order, self._control.decode(payload))
        if topic == self.leases:
            return _made(LeaseEvent.from_avro, LeaseEvent, self._lease.decode(payload))
        if topic in (self.shards, self.urgent, self.dlq):
            return self.decode_shard(payload)
        raise RegistryError(f"{topic} is no topic of this control plane")


def send(producer: TransactionalProducer, records: Iterable[Outgoing]) -> None:
    """Hand records over within the open transaction; those of one topic that follow each other go in one call.

    Raises:
        TransactionAborted: if the transaction cannot go on.
    """
    for topic, run in groupby(records, key=lambda record: record.topic):
        each = list(run)
        producer.send(topic, [r.payload for r in each], [r.key for r in each], [r.partition for r in each])


def _progress(datum: Mapping[str, Any]) -> Progress:
    try:
        return Progress.from_avro(datum)
    except TypeError:
        return Progress.from_avro(_known(Progress, {**datum, "shard": _known(Shard, datum["shard"])}))


def _made(make: Callable[[Mapping[str, Any]], Made], kind: type[Any], datum: Mapping[str, Any]) -> Made:
    """Make an event; fields that a newer release added are left out, as an older one must go on beside it."""
    try:
        return make(datum)
    except TypeError:
        return make(_known(kind, datum))


def _known(kind: type[Any], datum: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in datum.items() if name in names}
