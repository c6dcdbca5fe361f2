"""What an agent does with what it is handed: again, with gaps, damaged, or when another has taken its partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from operations.stack import EmbeddedStack
from streams.clients import producer_config
from streams.clock import now
from streams.health import Health
from streams.metrics import Metrics
from streams.sla.agent import Agent
from streams.sla.carrier import Carried
from streams.sla.missing import read_between
from streams.sla.records import TICK
from tests.support.sla_worlds import SLAWorld, make_sla_world, observation

pytestmark = pytest.mark.kafka

QUICK = {"kind": "quantile", "quantile": 0.5, "limit": "1s", "window": "2s"}


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> SLAWorld:
    return make_sla_world(stack, world, tmp_path, {"quick": QUICK}, topics={"event_partitions": 1})


class Hands:
    """An agent that is handed records by a test instead of by faust."""

    def __init__(self, made: SLAWorld) -> None:
        self.metrics = Metrics(made.world.name)
        self.agent = Agent(made.settings, made.world.registry, self.metrics, Health())
        self.acknowledged: list[int] = []
        self._topic = made.observations

    async def assigned(self) -> None:
        await self.agent.assigned([(self._topic, 0)])

    async def revoked(self) -> None:
        await self.agent.revoked([(self._topic, 0)])

    async def record(self, message: Any) -> None:
        offset = message.offset()
        await self.agent.record(
            Carried(
                self._topic, 0, offset, message.key(), message.value(), message.timestamp()[1],
                lambda: self.acknowledged.append(offset),
            )
        )  # fmt: skip

    async def turn(self) -> None:
        await asyncio.gather(*(self.agent._write(owned) for owned in list(self.agent._owned.values())))

    def text(self) -> str:
        return self.metrics.render().decode()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 90))


def broken_window(made: SLAWorld) -> list[Any]:
    """Write ten slow fetches and a tick that closes their window; return all records."""
    began = now() - timedelta(seconds=30)
    made.write(*(observation(began + timedelta(milliseconds=n), 3.0) for n in range(10)))
    made.write_to(made.observations, None, TICK)
    return made.world.read(made.observations)


def test_records_that_the_carrier_left_out_are_read_by_the_agent_itself(made: SLAWorld) -> None:
    records = broken_window(made)

    async def work() -> None:
        hands = Hands(made)
        await hands.assigned()
        await hands.record(records[0])
        await hands.record(records[-1])
        await hands.turn()
        assert "seamless_sla_observations_total" in hands.text()
        await hands.revoked()

    run(work)
    (opened,) = made.breaches()[:1]
    assert opened.count == 10


def test_records_that_come_again_change_nothing_and_are_acknowledged(made: SLAWorld) -> None:
    records = broken_window(made)

    async def work() -> None:
        hands = Hands(made)
        await hands.assigned()
        for _ in range(2):
            for each in records:
                await hands.record(each)
            await hands.turn()
        assert sorted(hands.acknowledged) == sorted([*range(11), *range(11)])
        await hands.revoked()
        again = Hands(made)
        await again.assigned()
        for each in records:
            await again.record(each)
        await again.revoked()
        assert again.acknowledged == list(range(11))

    run(work)
    assert made.states() == ["opened", "resolved"]
    assert made.breaches()[0].count == 10


def test_nothing_is_acknowledged_before_it_is_written(made: SLAWorld) -> None:
    records = broken_window(made)

    async def work() -> None:
        hands = Hands(made)
        await hands.assigned()
        for each in records:
            await hands.record(each)
        assert hands.acknowledged == []
        assert made.breaches() == []
        await hands.turn()
        assert hands.acknowledged == list(range(11))
        await hands.revoked()

    run(work)


def test_an_agent_that_was_taken_for_dead_can_write_nothing_any_more(made: SLAWorld) -> None:
    records = broken_window(made)

    async def work() -> None:
        asleep, awake = Hands(made), Hands(made)
        await asleep.assigned()
        for each in records:
            await asleep.record(each)
        await awake.assigned()
        await asleep.turn()
        assert asleep.acknowledged == []
        assert made.breaches() == []
        for each in records:
            await awake.record(each)
        await awake.turn()
        await asleep.revoked()
        await awake.revoked()

    run(work)
    assert made.states() == ["opened", "resolved"]


def test_a_record_that_is_no_event_is_counted_and_passed_over(made: SLAWorld) -> None:
    made.write_to(made.observations, b"\x00garbage", b"bars/reader/total")
    records = broken_window(made)

    async def work() -> None:
        hands = Hands(made)
        await hands.assigned()
        for each in records:
            await hands.record(each)
        await hands.revoked()
        assert 'seamless_sla_observations_unreadable_total{world_id="' in hands.text()

    run(work)
    assert made.states() == ["opened", "resolved"]


def test_what_is_between_two_offsets_is_what_there_is(made: SLAWorld) -> None:
    broken_window(made)

    def between(start: int, end: int) -> list[int | None]:
        batches = read_between(made.settings, made.observations, 0, start, end)
        return [message.offset() for batch in batches for message in batch]

    assert between(3, 7) == [3, 4, 5, 6]
    assert between(9, 11) == [9, 10]
    transactional = producer_config(made.settings, transactional_id=f"{made.world.name}-test")
    producer = Producer(transactional)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(made.observations, None, TICK, 0)
    producer.abort_transaction(30)
    made.write_to(made.observations, None, TICK)
    last = max(message.offset() or 0 for message in made.world.read(made.observations))
    assert between(11, last) == [], "what was aborted and the transaction's mark are nothing, and nobody waits for them"
