"""The faust application that carries records to the agent: a consumer group, its assignments, and nothing else.

faust-streaming is at least once at best: windows of its own are lost, and its tables drift when an agent is killed. So
no state is kept in it. It says which partitions are ours and hands over their records; each is acknowledged when what
follows from it is written. What is repeated, or left out, is found by its offset (`streams.sla.intake`).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.settings import Settings
from streams.sla.carrier_auth import credentials_of

__all__ = ["Carried", "Carrier", "Hands"]

_COMMIT_EVERY_S = 1.0

# Each rebalance is a warning to them, and a kill several; what comes of it is logged by the agent.
for _name in ("faust", "aiokafka", "mode"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Carried:
    """A record; `ack` tells the carrier that it need not come again."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    ack: Callable[[], Any] = lambda: None


class Hands(Protocol):
    """What records are handed to; everything is called on the event loop's thread."""

    async def assigned(self, places: Collection[tuple[str, int]]) -> None:
        """Partitions are ours from now on; records follow when this returns."""
        ...

    async def revoked(self, places: Collection[tuple[str, int]]) -> None:
        """Partitions are no longer ours when this returns."""
        ...

    async def record(self, carried: Carried) -> None:
        """Take a record."""
        ...


class Carrier:
    """Carries the records of topics to hands.

    Args:
        group: of consumers; its members share the partitions of all topics.
    """

    def __init__(self, settings: Settings, group: str, topics: Collection[str], hands: Hands) -> None:
        timeout = settings.sla_agent.session_timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="seamless-sla-")
        servers = settings.kafka.bootstrap_servers.split(",")
        self._app = faust.App(
            group,
            broker=[f"kafka://{server.strip()}" for server in servers],
            broker_credentials=credentials_of(settings.kafka),
            broker_session_timeout=timeout,
            broker_heartbeat_interval=timeout / 5,
            broker_rebalance_timeout=max(60.0, timeout),
            broker_request_timeout=max(90.0, timeout),
            broker_commit_interval=_COMMIT_EVERY_S,
            # Acknowledgements wait for a checkpoint, which is no reason for a warning.
            broker_commit_livelock_soft_timeout=24 * 3_600.0,
            consumer_auto_offset_reset="earliest",
            datadir=Path(self._folder.name),
            store="memory://",
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=False,
            web_enabled=False,
            autodiscover=False,
        )
        self._app.transport = _ReadCommitted(self._app.conf.broker_consumer, self._app)
        self._hands, self._topics = hands, frozenset(topics)
        self._app.on_partitions_assigned.connect(cast("Any", self._assigned))
        self._app.on_partitions_revoked.connect(cast("Any", self._revoked))
        source = self._app.topic(
            *topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        self._app.agent(source, name="carry")(self._carry)

    async def start(self) -> None:
        """Join the group."""
        await self._app.start()

    async def stop(self) -> None:
        """Leave the group; partitions are revoked first."""
        await self._app.stop()
        self._folder.cleanup()

    @property
    def failed(self) -> BaseException | None:
        """What ended it; None while it works."""
        if self._app.crashed:
            reason: BaseException | None = self._app.crash_reason
            return reason or RuntimeError("faust has crashed")
        return None

    def behind(self, topic: str, partition: int, following: int) -> int | None:
        """Return how many records a partition has from an offset on, as far as the last fetch knew; None if unknown."""
        end = self._app.consumer.highwater(TP(topic, partition))
        return None if end is None else max(0, end - following)

    async def _carry(self, stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            await self._hands.record(
                Carried(
                    message.topic,
                    message.partition,
                    message.offset,
                    message.key,
                    message.value,
                    round(message.timestamp * 1_000),
                    event.ack,
                )
            )

    async def _assigned(self, _app: Any, *given: Any, **named: Any) -> None:
        await self._hands.assigned(self._ours(given[0] if given else named["assigned"]))

    async def _revoked(self, _app: Any, *given: Any, **named: Any) -> None:
        await self._hands.revoked(self._ours(given[0] if given else named["revoked"]))

    def _ours(self, places: Collection[TP]) -> list[tuple[str, int]]:
        return sorted((place.topic, place.partition) for place in places if place.topic in self._topics)


# faust reads aborted transactions, too, unless it writes in transactions itself, which it does not do right.


class _CommittedThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class _CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> Any:
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)


class _ReadCommitted(driver.Transport):
    Consumer = _CommittedConsumer
