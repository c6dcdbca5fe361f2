"""`seamless topics` on a real broker: creates what is missing, reports what differs, alters nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner

from operations.stack import EmbeddedStack
from streams import topics
from streams.cli import topics as topics_command
from streams.errors import BrokerError, SettingsError
from streams.settings import DatasetSettings, KafkaSettings, Settings
from streams.topic_admin import TopicAdmin
from streams.topics import topics_for

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(stack: EmbeddedStack, world: str) -> Settings:
    return Settings(
        world=world,
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers),
        datasets={"x.1d": DatasetSettings(contract="ohlcv", partitions=2)},
    )


@pytest.fixture
def admin(settings: Settings) -> TopicAdmin:
    return TopicAdmin(settings.kafka)


def create(admin: TopicAdmin, topic: str, partitions: int) -> None:
    for future in admin._client.create_topics([NewTopic(topic, partitions, 1)]).values():
        future.result(10)


def test_apply_creates_every_topic_and_then_all_is_in_sync(admin: TopicAdmin, settings: Settings) -> None:
    wanted = topics_for(settings)
    assert {change.action for change in admin.apply(wanted)} == {"create"}
    assert {change.action for change in admin.plan(wanted)} == {"in_sync"}
    assert {change.action for change in admin.apply(wanted)} == {"in_sync"}


def test_a_topic_that_differs_is_reported_and_left_alone_while_the_rest_is_created(
    admin: TopicAdmin, settings: Settings
) -> None:
    raw = topics.raw(settings.world, "x.1d")
    create(admin, raw, 1)
    admin.apply(topics_for(settings))
    drifted = [change for change in admin.plan(topics_for(settings)) if change.action != "in_sync"]
    assert [change.spec.name for change in drifted] == [raw]
    assert ("partitions", "2", "1") in [(d.what, d.wanted, d.actual) for d in drifted[0].drift]
    assert admin.existing([raw])[raw].partitions == 1


def test_a_topic_that_kafka_refuses_is_named_and_the_others_are_created(admin: TopicAdmin, settings: Settings) -> None:
    clash = topics.raw(settings.world, "x.1d").replace("x.1d", "x_1d")  # Kafka reads . and _ alike
    create(admin, clash, 1)
    with pytest.raises(BrokerError, match=r"raw\.x\.1d.*collides"):
        admin.apply(topics_for(settings))
    assert [c.action for c in admin.plan(topics_for(settings))].count("create") == 1


def test_only_topics_that_exist_are_found(admin: TopicAdmin, world: str) -> None:
    assert admin.existing([topics.raw(world, "nothing")]) == {}


def test_a_broker_that_is_not_there_is_said_so_in_time() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9.*seamless up"):
        TopicAdmin(KafkaSettings(bootstrap_servers="127.0.0.1:9"), timeout=1).existing(["x"])


def test_a_property_that_librdkafka_does_not_know_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"no\.such\.thing"):
        TopicAdmin(KafkaSettings(client={"no.such.thing": 1}))


def run(stack: EmbeddedStack, world: str, folder: Path, *arguments: str) -> Result:
    file = folder / "seamless.toml"
    file.write_text(
        f'[kafka]\nbootstrap_servers = "{stack.bootstrap_servers}"\n'
        f'[registry]\nurl = "{stack.registry_url}"\n'
        '[datasets."x.1d"]\ncontract = "ohlcv"\npartitions = 2\n'
    )
    return CliRunner().invoke(topics_command.app, [*arguments, "--config", str(file), "--world", world])


def test_the_command_plans_and_applies_and_says_so(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    plan = run(stack, world, tmp_path, "plan", "--json")
    assert plan.exit_code == 0
    assert {row["state"] for row in json.loads(plan.stdout)} == {"create"}
    applied = run(stack, world, tmp_path, "apply", "--json")
    assert applied.exit_code == 0
    assert {row["state"] for row in json.loads(applied.stdout)} == {"created"}
    again = run(stack, world, tmp_path, "plan")
    assert again.exit_code == 0
    assert f"{len(json.loads(plan.stdout))} in sync" in again.stdout


def test_the_command_ends_with_one_when_a_topic_differs_and_creates_the_rest(
    stack: EmbeddedStack, world: str, tmp_path: Path, admin: TopicAdmin
) -> None:
    create(admin, topics.raw(world, "x.1d"), 1)
    applied = run(stack, world, tmp_path, "apply", "--json")
    assert applied.exit_code == 1
    states = [row["state"] for row in json.loads(applied.stdout)]
    assert (states.count("drift"), states.count("created")) == (1, len(states) - 1)
    assert run(stack, world, tmp_path, "plan").exit_code == 0
