"""What workers say of shards, written to the real topics without any worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from confluent_kafka import Producer

from coordinator.orders import Order
from coordinator.records import ControlPlane, Event, Outgoing
from coordinator.shards import Job, Progress, Shard, ShardState
from streams.clients import producer_config
from streams.clock import now_ms
from tests.support.worlds import World

__all__ = ["SimulatedWorker"]


class SimulatedWorker:
    """Claims shards and tells of them, one record after the other; reads the control topics as a test sees them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.plane = ControlPlane.prepare(world.settings, world.registry)
        self._producer = Producer(producer_config(world.settings))

    def queued(self, *, urgent: bool = False) -> list[Shard]:
        """Return all records of a queue, partition by partition."""
        messages = self._world.read(self.plane.queue(urgent=urgent))
        return [self.plane.decode_shard(m.value() or b"") for m in messages]

    def newest(self, shard: str) -> Shard:
        """Return a shard as it was queued last."""
        return max((s for s in self.queued() + self.queued(urgent=True) if s.id == shard), key=lambda s: s.epoch)

    def progress(self) -> list[Job | Progress]:
        """Return all records of the progress topic."""
        return [e for e in self._all(self.plane.progress) if isinstance(e, Job | Progress)]

    def orders(self) -> list[Order]:
        """Return all orders, in the order in which they were given."""
        return [e for e in self._all(self.plane.control) if isinstance(e, Order)]

    def say(self, shard: str | Shard, state: ShardState, *, attempt: int = 1, **values: Any) -> Progress:
        """Tell how far a shard, as it was queued last unless it is given, is."""
        queued = self.newest(shard) if isinstance(shard, str) else shard
        progress = Progress(
            queued, state, attempt, offset=0, member="member-1", host="here:1", lease_epoch=4, at=now_ms()
        )
        progress = replace(progress, **values)
        self.write(progress)
        return progress

    def write(self, event: Event | Outgoing) -> None:
        """Write any record and wait until it arrived."""
        record = event if isinstance(event, Outgoing) else self.plane.encode(event)
        self._producer.produce(record.topic, record.payload, record.key, record.partition)
        assert self._producer.flush(30) == 0

    def _all(self, topic: str) -> list[Event]:
        return [self.plane.decode(topic, m.value() or b"") for m in self._world.read(topic)]
