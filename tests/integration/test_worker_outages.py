"""A registry that is away: what is known goes on, what is not known waits, and nothing fails."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Producer

from coordinator.shards import ShardState
from operations.stack import EmbeddedStack
from operations.testing.proxy import Proxy
from streams import topics
from streams.clients import producer_config
from streams.clock import Deadline
from streams.health import Status
from streams.registry import Registry
from streams.settings import RegistrySettings
from tests.support.operating import bars_from, operating, sources_installed
from tests.support.progress import until
from tests.support.working import working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SETTINGS = {"slots": 2, "chunk_rows": 10, "retry_base_s": 0.05, "retry_max_s": 0.1}
TIMEOUT = 1.0
TRIES = 3  # that the registry's client makes


@pytest.fixture
def proxy(stack: EmbeddedStack) -> Iterator[Proxy]:
    where = urlsplit(stack.registry_url)
    with Proxy(where.hostname or "", where.port or 0) as proxy:
        yield proxy


def behind(proxy: Proxy, world: World) -> World:
    """Return the world as whoever reaches its registry through a proxy sees it."""
    url = proxy.url + urlsplit(world.settings.registry.url).path
    return replace(world, registry=Registry(RegistrySettings(url=url, timeout=TIMEOUT)))


def with_another_contract(world: World) -> None:
    """Register a next version of the dataset's contract."""
    evolved = copy.deepcopy(world.contract_schema.schema)
    evolved["fields"].append({"name": "venue", "type": "string", "default": "", "role": "attribute"})
    assert world.registry.register(topics.subject(world.topic("normalized")), evolved).version == 2
    assert world.registry.register(topics.subject(world.topic("history")), evolved).version == 2


@pytest.mark.parametrize("outage", ["cut", "hang"])
def test_while_the_registry_is_away_known_contracts_go_on_and_what_is_unknown_waits(
    stack: EmbeddedStack, world: str, tmp_path: Path, proxy: Proxy, outage: str
) -> None:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=4, backfill=SETTINGS)
    hurry = tmp_path / "hurry"
    with (
        sources_installed(),
        operating(made) as operator,
        working(behind(proxy, made), silence_limit=0.8 * TRIES * TIMEOUT) as worker,
    ):
        known = operator.ask(bars_from(600, batch=10, pace=0.1, hurry=hurry), ["AAA"], 600)
        operator.until_rows(known, 20)
        with_another_contract(made)
        getattr(proxy, outage)()

        # Ranked before the shards of the job that runs, so that it has one of the two slots.
        waiting = operator.ask(bars_from(100), ["BBB"], 100, urgent=True)
        shard = operator.shard(waiting).id
        operator.until_shard(shard, lambda s: s.attempt >= 1, "a claim under an unknown contract")
        # Perhaps a shard of a newer release, as long as nobody can tell.
        producer = Producer(producer_config(made.settings))
        producer.produce(operator.plane.shards, b"\x00\x3b\x9a\xca\x00?", b"poison", 0)
        assert producer.flush(30) == 0
        hurry.touch()
        away = Deadline(TRIES * TIMEOUT)

        def went_on() -> bool:
            assert worker.health.report().status is Status.OK, "the loop waits for the registry"
            return away.passed() and operator.job(known).state == "done"

        until(went_on, 20, "all shards under a known contract", lambda: operator.told(known))
        assert operator.coordinator.shard(shard).state is ShardState.RUNNING
        assert made.read(operator.plane.dlq) == []

        proxy.mend()
        operator.until(waiting, "done", seconds=30)
        until(lambda: len(made.read(operator.plane.dlq)) == 1, 30, "the burial of what is no shard")
        assert worker.value("backfill_failure_total") == 0
        assert worker.value("backfill_retry_total") == 0, "no fault of the source"
        assert operator.coordinator.shard(shard).attempt == 1
    made.registry.close()
