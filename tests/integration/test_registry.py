"""The registry adapter on a real registry."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from operations.stack import EmbeddedStack
from streams import topics
from streams.registry import Registry, SchemaRefused, UnknownSchemaId
from streams.settings import RegistrySettings

pytestmark = pytest.mark.kafka

BAR: dict[str, Any] = {
    "type": "record",
    "name": "Bar",
    "namespace": "test",
    "fields": [
        {"name": "symbol", "type": "string", "role": "key"},
        {"name": "close", "type": "double", "exclusiveMin": 0},
    ],
    "rules": [{"name": "positive", "sql": "close > 0"}],
}


def with_field(default: bool) -> dict[str, Any]:
    changed = copy.deepcopy(BAR)
    changed["fields"].append({"name": "volume", "type": "long"} | ({"default": 0} if default else {}))
    return changed


@pytest.fixture
def registry(stack: EmbeddedStack) -> Iterator[Registry]:
    with Registry(RegistrySettings(url=stack.registry_url)) as registry:
        yield registry


@pytest.fixture
def subject(world: str) -> str:
    return f"{world}.raw.bars-value"


def test_a_registered_schema_comes_back_by_id_with_its_custom_attributes(registry: Registry, subject: str) -> None:
    registered = registry.register(subject, BAR)
    assert registered.version == 1
    assert registry.schema_by_id(registered.id) == BAR
    assert registry.latest(subject) == registered
    assert subject in registry.subjects()


def test_all_subjects_are_told_however_many_there_are(
    registry: Registry, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [subject.replace("bars", f"bars{n}") for n in range(7)]
    for name in names:
        registry.register(name, BAR)
    monkeypatch.setattr("streams.registry._PAGE", 3)
    assert set(names) <= set(registry.subjects())


def test_a_schema_fetched_once_is_remembered(registry: Registry, subject: str) -> None:
    registered = registry.register(subject, BAR)
    assert registry.schema_by_id(registered.id) is registry.schema_by_id(registered.id)


def test_registering_the_same_schema_again_keeps_id_and_version(registry: Registry, subject: str) -> None:
    assert registry.register(subject, BAR) == registry.register(subject, BAR)


def test_an_id_that_nobody_registered_is_unknown_and_not_an_outage(registry: Registry) -> None:
    with pytest.raises(UnknownSchemaId, match="987654321") as caught:
        registry.schema_by_id(987_654_321)
    assert caught.value.schema_id == 987_654_321


def test_a_subject_without_versions_has_no_latest(registry: Registry, subject: str) -> None:
    assert registry.latest(subject) is None


def test_lookup_finds_this_very_schema_and_no_other(registry: Registry, subject: str) -> None:
    assert registry.lookup(subject, BAR) is None
    registered = registry.register(subject, BAR)
    assert registry.lookup(subject, BAR) == registered
    assert registry.lookup(subject, with_field(default=True)) is None


def test_a_new_version_is_seen_at_once_by_a_client_that_read_the_old_one(
    registry: Registry, stack: EmbeddedStack, subject: str
) -> None:
    registry.register(subject, BAR)
    assert registry.latest(subject) is not None
    with Registry(RegistrySettings(url=stack.registry_url)) as other:
        newer = other.register(subject, with_field(default=True))
    assert newer.version == 2
    assert registry.latest(subject) == newer


def test_a_changed_custom_attribute_is_a_new_schema(registry: Registry, subject: str) -> None:
    changed = copy.deepcopy(BAR)
    changed["fields"][1]["exclusiveMin"] = 1
    assert registry.register(subject, BAR).id != registry.register(subject, changed).id


def test_an_incompatible_schema_is_refused_with_a_reason(registry: Registry, subject: str) -> None:
    registry.set_compatibility(subject, "FULL_TRANSITIVE")
    registry.register(subject, BAR)
    assert registry.check_compatible(subject, with_field(default=True)) == []
    assert registry.check_compatible(subject, with_field(default=False)) != []
    with pytest.raises(SchemaRefused, match="defaults"):
        registry.register(subject, with_field(default=False))


def test_anything_is_compatible_with_a_subject_that_has_no_versions(registry: Registry, subject: str) -> None:
    assert registry.check_compatible(subject, BAR) == []


def test_what_is_no_avro_schema_is_refused(registry: Registry, subject: str) -> None:
    with pytest.raises(SchemaRefused):
        registry.register(subject, {"type": "no-such-type"})


def test_subjects_of_topics_with_dots_are_kept_apart(registry: Registry, world: str) -> None:
    one, other = (topics.subject(f"{world}.raw.{name}") for name in ("a.b", "a_b"))
    registry.register(one, BAR)
    assert registry.latest(other) is None
