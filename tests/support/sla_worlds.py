"""Worlds with an SLA agent: their topics, observations written to them, and the breaches that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from schemas.events import load_event
from streams import topics
from streams.clients import producer_config
from streams.events import EventCodec
from streams.provider.observations import Observation
from streams.sla.breach import EVENT, Breach
from streams.topic_admin import TopicAdmin
from tests.support.worlds import DATASET, World, make_backfill_world, make_world, read_committed, register_all

__all__ = ["SLAWorld", "make_sla_world", "observation"]


class SLAWorld:
    """A world whose promises are watched."""

    def __init__(self, world: World) -> None:
        self.world, self.settings, self.config = world, world.settings, world.config
        self.observations = topics.sla_observations(world.name)
        self.codec = EventCodec(world.registry, self.observations, "sla_observation")
        self._breaches = EventCodec(world.registry, topics.sla_breaches(world.name), EVENT)
        self._producer = Producer(
            {
                **producer_config(world.settings, linger_ms=5, compression="lz4"),
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def write(self, *told: Observation) -> None:
        """Write observations, and return when they have arrived."""
        self.hand_over(told)
        assert self._producer.flush(30) == 0

    def hand_over(self, told: Iterable[Observation]) -> None:
        """Write observations without waiting."""
        for each in told:
            at_ms = int(each.at.timestamp() * 1_000)
            self._producer.produce(
                self.observations, self.codec.encode(each.datum()), each.objective.encode(), timestamp=at_ms
            )
        self._producer.poll(0)

    def write_to(self, topic: str, payload: bytes | None, key: bytes) -> None:
        """Write one record to a topic, and return when it has arrived."""
        self._producer.produce(topic, payload, key)
        assert self._producer.flush(30) == 0

    def breaches(self) -> list[Breach]:
        """Return the committed records of breaches in the order in which they were written, over all partitions."""
        found = read_committed(self.settings, topics.sla_breaches(self.world.name))
        found = sorted(found, key=lambda message: message.timestamp()[1])
        return [Breach.from_datum(self._breaches.decode(message.value() or b"")) for message in found]

    def written_at(self, breach: Breach) -> datetime:
        """Return the timestamp of a record of a breach, which is when an agent wrote it."""
        for message in read_committed(self.settings, topics.sla_breaches(self.world.name)):
            if Breach.from_datum(self._breaches.decode(message.value() or b"")) == breach:
                return datetime.fromtimestamp(message.timestamp()[1] / 1_000, UTC)
        raise AssertionError("there is no such record")

    def states(self, objective: str | None = None) -> list[str]:
        """Return the states that breaches of an objective, or of all, went through."""
        return [b.state for b in self.breaches() if objective in (None, b.objective)]


def make_sla_world(
    stack: Any,
    name: str,
    folder: Path,
    objectives: Mapping[str, Mapping[str, Any]],
    *,
    backfill: bool = False,
    **sections: Any,
) -> SLAWorld:
    """Create a world in which these objectives are watched, and no others; sections as `make_world` takes them."""
    make = make_backfill_world if backfill else make_world
    agent = {"defaults": False, **sections.pop("sla_agent", {})}
    world = make(stack, name, folder, sla={"objectives": dict(objectives)}, sla_agent=agent, **sections)
    wanted = [t for t in topics.topics_for(world.settings) if t.kind.value.startswith("sla.")]
    TopicAdmin(world.settings.kafka).apply(wanted)
    events = {
        topics.sla_observations(name): load_event("sla_observation"),
        topics.sla_breaches(name): load_event(EVENT),
        topics.sla_state(name): load_event("sla_state"),
    }
    register_all(world.registry, events)
    return SLAWorld(world)


def observation(at: datetime, elapsed: float, *, consumer: str = "reader", **changes: Any) -> Observation:
    """Return an observation of a fetch in all, as the provider tells it."""
    values: dict[str, Any] = {
        "world": "w", "dataset": DATASET, "consumer": consumer, "phase": "total", "interval": "1m", "lane": "live",
        "outcome": "ok", "elapsed_seconds": elapsed, "budget_seconds": None, "at": at, "fetch_id": f"f{at.timestamp()}",
    }  # fmt: skip
    return Observation(**(values | changes))
