"""What all slots of a worker share: codecs, datasets' jobs, metrics, orders, and what ties transactions to leases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from coordinator.chunks import ShardJob
from coordinator.lease_event import LeaseEvent
from coordinator.lease_producers import LeaseProducers
from coordinator.ownership import Lease, Place
from coordinator.queue_offsets import worker_group
from coordinator.records import ControlPlane
from coordinator.shards import Shard, ShardState
from coordinator.source import SourceContext
from streams.clients import producer_config
from streams.lease import LeaseToken
from streams.metrics import Metrics
from streams.operating.follower import Follower
from streams.registry import Registry
from streams.settings import BackfillSettings, Settings

__all__ = ["Guards", "LeaseLog", "Orders", "PreparedJob", "SlotKit", "transactional_id"]


_LONGEST_TRANSACTION_S = 30.0
_ANSWER_S = 5.0
_KNOWN_S = 2.0


@dataclass(frozen=True, slots=True)
class Guards:
    """The three guards of a lease; tests switch one off to show what it guards, nothing else ever does.

    Attributes:
        captured_token: send the token captured at the assignment, not whatever the client holds at the commit.
        partition_ids: one transactional id per queue partition, not per slot.
        positions: believe only a record that follows the committed offset.
        lose_polled: fault, not guard: throw away that many records of each partition between poll and claim.
    """

    captured_token: bool = True
    partition_ids: bool = True
    positions: bool = True
    lose_polled: int = 0


class Orders(Protocol):
    """What operators want."""

    def state_for(self, shard: Shard) -> ShardState | None:
        """Return the state that an order wants a shard to end in, None if there is none."""
        ...


class LeaseLog(Protocol):
    """Where things are told that happen beside a transaction."""

    def tell(self, event: LeaseEvent) -> None:
        """Send an event; it is lost if the broker is away."""
        ...


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A dataset's job and what its sources may know."""

    job: ShardJob
    context: SourceContext
    interval: str | None


def transactional_id(world: str, plane: ControlPlane, place: Place) -> str:
    """Return the id that whoever holds a queue partition writes under: taking it over fences the holder before."""
    return f"{worker_group(world)}.{'urgent' if place.queue == plane.urgent else 'shards'}.{place.partition}"


class SlotKit:
    """One per worker; all of it may be used from any slot's thread.

    Args:
        host: how the worker names itself in the log: machine and process.
        fresh_token: reads group metadata as it is now; only for showing what the captured token guards.

    Attributes:
        producers: those of the partitions that this worker holds.
        captured_epochs: whether the broker accepts the epoch of an older assignment for partitions that have stayed
            (Kafka 4.3 does, KIP-1251); None while that is being found out.
    """

    captured_epochs: bool | None = None

    limits: BackfillSettings

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        plane: ControlPlane,
        metrics: Metrics,
        orders: Orders,
        lease_events: LeaseLog,
        *,
        host: str,
        guards: Guards,
        fresh_token: Callable[[], LeaseToken],
    ) -> None:
        self.plane, self.metrics, self.orders, self.lease_events = plane, metrics, orders, lease_events
        self.host, self.limits = host, settings.backfill
        self._settings, self._registry = settings, registry
        self._guards, self._fresh_token = guards, fresh_token
        self._operations = Follower(settings, metrics)
        self._jobs: dict[tuple[str, int, str], PreparedJob] = {}
        # By then the broker has aborted the transaction, and nothing is gained by waiting for its commit: after an
        # outage of seconds, slots were seen to wait for half a minute.
        deadline_s = min(_LONGEST_TRANSACTION_S, self.limits.transaction_timeout_ms / 1_000 + _ANSWER_S)
        self.producers = LeaseProducers(self.producer_config, deadline_s)
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._preparing = threading.Lock()  # held for as long as a registry that is away keeps whoever asks it waiting

    def producer_config(self, place: Place) -> dict[str, Any]:
        """Return the configuration of the producer that writes under a partition's lease."""
        world = self._settings.world
        own = transactional_id(world, self.plane, place)
        if not self._guards.partition_ids:
            own = f"{worker_group(world)}.{self.host}.{place.queue}.{place.partition}"
        return producer_config(
            self._settings,
            transactional_id=own,
            transaction_timeout_ms=self.limits.transaction_timeout_ms,
            compression=self._settings.normalizer.compression,
        )

    def token_for(self, lease: Lease) -> LeaseToken:
        """Return the token that a lease's transactions carry."""
        return lease.token if self._guards.captured_token else self._fresh_token()

    def newest_of(self, dataset: str, time: int) -> int:
        """Take in an event time that was written; return the dataset's greatest, in nanoseconds since the epoch."""
        with self._lock:
            newest = self._newest[dataset] = max(time, self._newest.get(dataset, time))
        return newest

    def job_of(self, shard: Shard) -> PreparedJob:
        """Return the job of a shard's dataset under the contract that the shard was planned for, in the mode in force.

        Raises:
            SeamlessError: as `ShardJob.prepare`.
        """
        self._operations.start()
        self._operations.wait(_KNOWN_S)
        settings = self._operations.settings
        key = (shard.dataset, shard.contract_version, settings.mode_of(shard.dataset))
        known = self._jobs.get(key)
        if known is not None:
            return known
        with self._preparing:
            found = self._jobs.get(key)
            if found is None:
                job = ShardJob.prepare(settings, shard.dataset, self._registry, contract_version=shard.contract_version)
                wanted = self._settings.dataset(shard.dataset)
                context = SourceContext(self._settings, shard.dataset, wanted, job.contract, self._registry)
                found = self._jobs[key] = PreparedJob(job, context, wanted.interval)
            return found

    def close(self) -> None:
        """Follow operators no more."""
        self._operations.close()
