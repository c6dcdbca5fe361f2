"""Orders that a worker cannot read at once, as a newer release wrote them while the registry was away."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Producer

from coordinator.orders import Order, OrderKind
from coordinator.records import ControlPlane
from coordinator.shards import Shard, ShardState
from coordinator.worker_orders import WorkerOrders
from operations.stack import EmbeddedStack
from operations.testing.proxy import Proxy
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.events import load_event
from streams import topics
from streams.clients import producer_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.registry import Registry
from streams.settings import RegistrySettings
from tests.support.progress import until
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

SHARD = Shard(
    id="shard-1",
    job="job-1",
    dataset="bars",
    symbols=("A",),
    start=0,
    end=1,
    source="files:none",
    as_of=0,
    contract_version=1,
    estimated_rows=1,
    partition=0,
)


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> Iterator[World]:
    made = make_backfill_world(stack, world, tmp_path, shard_partitions=1)
    yield made
    made.registry.close()


@pytest.fixture
def proxy(stack: EmbeddedStack) -> Iterator[Proxy]:
    where = urlsplit(stack.registry_url)
    with Proxy(where.hostname or "", where.port or 0) as proxy:
        yield proxy


def of_a_newer_release(made: World, control: str) -> ReferenceCodec:
    schema = copy.deepcopy(dict(load_event("backfill_control")))
    schema["fields"].append({"name": "ticket", "type": "string", "default": ""})
    registered = made.registry.register(topics.subject(control), schema)
    return ReferenceCodec(parse_record(schema), registered.id)


def order(made: World, control: str, codec: ReferenceCodec, kind: OrderKind, at: int) -> None:
    producer = Producer(producer_config(made.settings))
    datum = Order(SHARD.job, kind, epoch=SHARD.job_epoch, at=at).to_avro() | {"ticket": "T1"}
    producer.produce(control, codec.encode_one(datum), SHARD.job.encode(), 0)
    assert producer.flush(30) == 0


def test_an_order_that_cannot_be_read_while_the_registry_is_away_is_obeyed_once_it_is_back(
    stack: EmbeddedStack, made: World, proxy: Proxy
) -> None:
    where = RegistrySettings(url=proxy.url + urlsplit(stack.registry_url).path, timeout=1.0)
    with Registry(where) as registry:
        plane = ControlPlane.prepare(made.settings, registry)
        newer = of_a_newer_release(made, plane.control)
        with closing(WorkerOrders(made.settings, plane)) as orders:
            orders.catch_up(Deadline(30))
            proxy.cut()
            order(made, plane.control, newer, OrderKind.PAUSE, at=1)
            order(made, plane.control, newer, OrderKind.CANCEL, at=2)
            until(lambda: orders.poll(0.1) or orders.waiting == 2, 30, "the orders that wait")  # type: ignore[func-returns-value]
            assert orders.state_for(SHARD) is None
            proxy.mend()
            until(lambda: orders.poll(0.1) or not orders.waiting, 30, "the orders")  # type: ignore[func-returns-value]
            assert orders.state_for(SHARD) is ShardState.CANCELLED


def test_a_worker_does_not_begin_without_the_orders_that_it_cannot_read(
    stack: EmbeddedStack, made: World, proxy: Proxy
) -> None:
    where = RegistrySettings(url=proxy.url + urlsplit(stack.registry_url).path, timeout=1.0)
    with Registry(where) as registry:
        plane = ControlPlane.prepare(made.settings, registry)
        order(made, plane.control, of_a_newer_release(made, plane.control), OrderKind.PAUSE, at=1)
        proxy.cut()
        with closing(WorkerOrders(made.settings, plane)) as orders:
            with pytest.raises(BrokerError, match="the registry does not answer"):
                orders.catch_up(Deadline(3))
            proxy.mend()
            orders.catch_up(Deadline(30))
            assert orders.state_for(SHARD) is ShardState.PARKED
