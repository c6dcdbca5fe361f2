"""A registry that cannot be reached, cut off and mended by a proxy in front of the real one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from operations.stack import EmbeddedStack
from operations.testing.proxy import Proxy
from schemas.avro import AvroRecord, parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.contract import load_contract
from streams import topics
from streams.health import Status
from streams.raw_schemas import RawSchemas
from streams.registry import Registry
from streams.settings import RegistrySettings
from tests.support.bars import good_bar
from tests.support.normalizing import normalizing
from tests.support.progress import committed, until
from tests.support.worlds import World, make_world

pytestmark = pytest.mark.kafka


@pytest.fixture
def proxy(stack: EmbeddedStack) -> Iterator[Proxy]:
    where = urlsplit(stack.registry_url)
    with Proxy(where.hostname or "", where.port or 0) as proxy:
        yield proxy


def behind(proxy: Proxy, stack: EmbeddedStack, timeout: float = 1.0) -> Registry:
    return Registry(RegistrySettings(url=proxy.url + urlsplit(stack.registry_url).path, timeout=timeout))


def rows(world: World, codec: ReferenceCodec, partition: int, first: int) -> list[tuple[int, bytes, bytes]]:
    return [(partition, b"A", codec.encode_one(good_bar(f"S{partition}", m))) for m in range(first, first + 10)]


@pytest.mark.parametrize("outage", ["cut", "hang"])
def test_while_the_registry_is_away_known_schemas_flow_and_an_unknown_one_waits(
    stack: EmbeddedStack, world: str, tmp_path: Path, proxy: Proxy, outage: str
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 2})
    known = ReferenceCodec(parse_record(made.raw_schema.schema), made.raw_schema.id)
    evolved = copy.deepcopy(made.raw_schema.schema)
    evolved["fields"].append({"name": "venue", "type": "string", "default": ""})
    registered = made.registry.register(topics.subject(made.topic("raw")), evolved)
    new = ReferenceCodec(parse_record(evolved), registered.id)
    with behind(proxy, stack) as registry, normalizing(made, registry=registry) as run:
        made.produce([*rows(made, known, 0, 0), *rows(made, known, 1, 0)])
        until(lambda: committed(made) == {0: 10, 1: 10}, 60, "rows of the known schema")
        getattr(proxy, outage)()
        # In the middle of the partition: what comes before the unknown schema passes, what comes after it waits.
        unknown = (0, b"A", new.encode_one(good_bar("S0", 20) | {"venue": "X"}))
        made.produce([*rows(made, known, 0, 10), unknown, *rows(made, known, 0, 21)])
        until(lambda: run.value("seamless_registry_wait", dataset="bars") == 1, 60, "the wait")
        assert run.health.report().status is Status.DEGRADED
        for n in range(1, 4):
            made.produce(rows(made, known, 1, 10 * n))
            until(lambda n=n: committed(made).get(1) == 10 * n + 10, 10, "rows of the other partition")  # type: ignore[misc]
        until(lambda: committed(made).get(0) == 20, 10, "rows before the unknown schema")
        proxy.mend()
        until(lambda: committed(made) == {0: 31, 1: 40}, 60, "all rows")
        until(lambda: run.value("seamless_registry_wait", dataset="bars") == 0, 10, "the end of the wait")
        assert run.health.report().status is Status.OK
        assert run.value("seamless_transaction_aborts_total", reason="fenced") == 0
    found = [m.offset() for m in made.read(made.topic("raw")) if m.partition() == 0]
    assert len(found) == 31
    assert len(made.read(made.topic("normalized"))) == 71
    assert made.read(made.topic("quarantine")) == []


def test_a_partition_that_waits_and_is_taken_away_leaves_no_wait_behind(
    stack: EmbeddedStack, world: str, tmp_path: Path, proxy: Proxy
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    with behind(proxy, stack) as registry, normalizing(made, registry=registry) as run:
        until(lambda: run.normalizer._owned() == [0], 60, "the assignment")
        proxy.cut()
        known = ReferenceCodec(parse_record(made.raw_schema.schema), made.raw_schema.id)
        made.produce(rows(made, known, 0, 0))
        until(lambda: run.value("seamless_registry_wait", dataset="bars") == 1, 60, "the wait")
        run.end()
        assert run.value("seamless_registry_wait", dataset="bars") == 0
    assert made.read(made.topic("normalized")) == []


def test_rows_that_wait_while_nothing_else_comes_are_asked_about_until_the_registry_is_back(
    stack: EmbeddedStack, world: str, tmp_path: Path, proxy: Proxy
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    with behind(proxy, stack) as registry, normalizing(made, registry=registry) as run:
        until(lambda: run.normalizer._owned() == [0], 60, "the assignment")
        proxy.cut()
        known = ReferenceCodec(parse_record(made.raw_schema.schema), made.raw_schema.id)
        made.produce(rows(made, known, 0, 0))
        until(lambda: run.value("seamless_registry_wait", dataset="bars") == 1, 60, "the wait")
        # For longer than one batch may spend on schemas.
        until(lambda: proxy.attempts[-1] - proxy.attempts[0] > 4, 60, "tries")
        proxy.mend()
        until(lambda: committed(made) == {0: 10}, 60, "the rows that waited")


def test_known_ids_need_no_registry_and_unknown_ones_are_told_apart_from_an_outage(
    stack: EmbeddedStack, world: str, proxy: Proxy
) -> None:
    contract = load_contract("ohlcv")
    lacking = {"type": "record", "name": "Lacking", "fields": [{"name": "ticker", "type": "string"}]}
    with behind(proxy, stack) as registry:
        good = registry.register(f"{world}-good-value", contract.schema).id
        bad = registry.register(f"{world}-bad-value", lacking).id
        schemas = RawSchemas(registry, contract)
        until(lambda: schemas(good) is not None, 10, "an answer")
        assert isinstance(schemas(good), AvroRecord)
        until(lambda: schemas(bad) is not None, 10, "an answer")
        assert str(schemas(bad)).startswith(f"incompatible schema id {bad}: ")
        assert "event_time" in str(schemas(bad))
        until(lambda: schemas(987_654_321) is not None, 10, "an answer")
        assert str(schemas(987_654_321)) == "unknown schema id 987654321: the registry does not have it"
        proxy.cut()
        assert isinstance(schemas(good), AvroRecord)
        assert schemas(987_654_322) is None
        proxy.mend()
        until(lambda: schemas(987_654_322) is not None, 10, "an answer after the outage")
