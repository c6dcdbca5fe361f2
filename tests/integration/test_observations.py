"""Observations on a real broker and registry: they arrive as Avro by objective, and outages cost the reader nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from operations.stack import EmbeddedStack
from operations.testing.proxy import Proxy
from streams import topics
from streams.events import EventCodec
from streams.metrics import Metrics
from streams.partitioning import partition_of
from streams.provider.account import Surroundings
from streams.provider.observation_writer import ObservationWriter
from streams.provider.phases import Phases
from streams.provider.sla_metrics import SLAMetrics
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import KafkaSettings, Settings
from streams.sla_resolve import resolve
from streams.topic_admin import TopicAdmin
from tests.support.waiting import eventually
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka


def create_topic(world: World) -> str:
    topic = topics.sla_observations(world.name)
    TopicAdmin(world.settings.kafka).apply([t for t in topics.topics_for(world.settings) if t.name == topic])
    return topic


def register(world: World) -> None:
    wanted = topics.subject(topics.sla_observations(world.name))
    register_subjects(world.registry, [w for w in wanted_subjects(world.settings) if w.subject == wanted])


@pytest.fixture
def prepared(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    made = make_world(stack, world, tmp_path)
    create_topic(made)
    register(made)
    return made


def fetch(settings: Settings, writer: ObservationWriter, metrics: Metrics, consumer: str = "alpha") -> str:
    """Do as a fetch of one symbol does, whose backfill finds nothing; return its id."""
    around = Surroundings(observers=[SLAMetrics(metrics).observed, writer.write])
    policy = resolve(settings, DATASET, consumer, "tolerant-partial")
    with Phases(policy, symbols=["AAPL"], around=around) as phases:
        with phases.phase("storage_wait") as phase:
            phase.run(lambda: "rows")
            phase.saw(10, 1_700_000_000_000_000_001)
        phases.check_coverage(0.5)
        phases.finish(rows=10, watermark=1_700_000_000_000_000_001)
    return phases.fetch_id


def decoded(world: World, messages: list[Message]) -> list[dict[str, Any]]:
    codec = EventCodec(world.registry, topics.sla_observations(world.name), "sla_observation")
    return [codec.decode(m.value() or b"") for m in messages]


def test_what_a_fetch_tells_is_in_the_topic_by_objective_and_field_for_field(prepared: World) -> None:
    metrics = Metrics(prepared.name)
    with ObservationWriter(prepared.settings, metrics) as writer:
        ids = [fetch(prepared.settings, writer, metrics, consumer) for consumer in ("alpha", "beta", "alpha")]
        assert eventually(lambda: writer.waiting == 0, 30)
    messages = prepared.read(topics.sla_observations(prepared.name))
    assert len(messages) == 9
    by_key: dict[bytes, set[int | None]] = {}
    for message in messages:
        by_key.setdefault(message.key() or b"", set()).add(message.partition())
    objectives = {f"{DATASET}/{c}/{p}" for c in ("alpha", "beta") for p in ("storage_wait", "coverage", "total")}
    assert set(by_key) == {each.encode() for each in objectives}
    count = prepared.settings.topics.event_partitions
    assert by_key == {key: {partition_of(key, count)} for key in by_key}
    found = {(each["fetch_id"], each["phase"]): each for each in decoded(prepared, messages)}
    assert set(found) == {(i, phase) for i in ids for phase in ("storage_wait", "coverage", "total")}
    storage, coverage, total = (found[ids[0], phase] for phase in ("storage_wait", "coverage", "total"))
    for each in (storage, coverage, total):
        assert (each["world"], each["dataset"], each["consumer"]) == (prepared.name, DATASET, "alpha")
        assert (each["interval"], each["lane"], each["symbols"]) == ("1m", "live", 1)
        assert (each["final"], each["synthetic"]) == (True, False)
    assert (storage["outcome"], storage["budget_seconds"], storage["rows"]) == ("ok", 2.0, 10)
    assert storage["watermark"] == 1_700_000_000_000_000_001
    assert 0 <= storage["elapsed_seconds"] <= total["elapsed_seconds"]
    assert (coverage["outcome"], coverage["coverage"], coverage["min_coverage"]) == ("partial", 0.5, 0.9)
    assert (total["outcome"], total["budget_seconds"]) == ("partial", 8.0)
    carried = {m.timestamp()[1] for m in messages}
    assert int(total["at"].timestamp() * 1_000) in carried


def test_observations_wait_for_their_schema_to_be_registered(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path)
    topic = create_topic(made)
    metrics = Metrics(made.name)
    with ObservationWriter(made.settings, metrics) as writer:
        fetch(made.settings, writer, metrics)
        assert writer.waiting == 3
        register(made)
        assert eventually(lambda: writer.waiting == 0, 60)
    assert len(made.read(topic)) == 3


def test_observations_of_an_outage_arrive_when_it_is_over(prepared: World) -> None:
    host, port = prepared.settings.kafka.bootstrap_servers.rsplit(":", 1)
    metrics = Metrics(prepared.name)
    with Proxy(host, int(port)) as proxy:
        proxy.hang()
        hung = KafkaSettings(bootstrap_servers=f"127.0.0.1:{proxy.port}")
        settings = prepared.settings.model_copy(update={"kafka": hung})
        with ObservationWriter(settings, metrics) as writer:
            fetch(settings, writer, metrics)  # ends, though nothing can be sent
            assert writer.waiting == 3
            proxy.mend()
            assert eventually(lambda: writer.waiting == 0, 60)
    assert len(prepared.read(topics.sla_observations(prepared.name))) == 3


def test_observations_without_a_topic_are_counted_as_undelivered(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    register(made)
    metrics = Metrics(made.name)
    writer = ObservationWriter(made.settings, metrics)
    fetch(made.settings, writer, metrics)
    writer.close(5)
    text = metrics.render().decode()
    assert f'seamless_sla_observations_dropped_total{{reason="undelivered",world_id="{made.name}"}} 3.0' in text
