"""The real registry and our checks agree on every step; references are read; subjects move with their ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.compatibility import LEVELS, breaks
from streams import topics
from streams.cli import app
from streams.errors import RegistryError
from streams.registry import Registry
from streams.schema_bundle import Bundle
from streams.schema_moving import export_subjects, import_subjects
from streams.settings import RegistrySettings
from tests.support.bars import good_bar
from tests.support.evolutions import STEPS, record
from tests.support.normalizing import normalize
from tests.support.worlds import make_world

pytestmark = pytest.mark.kafka


def test_the_registry_takes_each_step_at_each_level_if_and_only_if_our_check_does(
    stack: EmbeddedStack, world: str
) -> None:
    with Registry(RegistrySettings(url=stack.registry_url)) as registry:
        disagree = []
        for n, step in enumerate(STEPS):
            subject = f"{world}.step{n}-value"
            registry.set_compatibility(subject, "NONE")
            registry.register(subject, step.old)
            for level in LEVELS:
                registry.set_compatibility(subject, level)
                refused = bool(registry.check_compatible(subject, step.new))
                if refused != bool(breaks(level, step.new, [(1, step.old)])):
                    disagree.append((step.name, level, "the registry refuses" if refused else "we refuse"))
        assert not disagree


def test_transitive_levels_look_at_all_versions_as_the_registry_does(stack: EmbeddedStack, world: str) -> None:
    chain = [
        record({"name": "a", "type": "long"}),
        record({"name": "b", "type": "long", "default": 0}),
        record({"name": "b", "type": "long"}),
    ]
    with Registry(RegistrySettings(url=stack.registry_url)) as registry:
        subject = f"{world}.chain-value"
        registry.set_compatibility(subject, "NONE")
        for schema in chain[:2]:
            registry.register(subject, schema)
        for level in LEVELS:
            registry.set_compatibility(subject, level)
            ours = breaks(level, chain[2], [(1, chain[0]), (2, chain[1])])
            assert bool(ours) == bool(registry.check_compatible(subject, chain[2])), level


def test_rows_of_a_schema_that_refers_to_a_shared_type_are_normalized(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"schema_mode": "strict"})
    side = {"type": "enum", "name": "Venue", "namespace": "shared", "symbols": ["XNYS", "XNAS"]}
    made.registry.register(f"{world}.venue-value", side)
    fields = [*made.raw_schema.schema["fields"], {"name": "venue", "type": "shared.Venue", "default": "XNYS"}]
    schema = {**made.raw_schema.schema, "fields": fields}
    body = {
        "schema": json.dumps(schema),
        "references": [{"name": "shared.Venue", "subject": f"{world}.venue-value", "version": 1}],
    }
    raw = topics.subject(made.topic("raw"))
    answer = made.registry.call("POST", f"subjects/{raw}/versions", body)
    whole = made.registry.schema_by_id(answer["id"])
    assert whole["fields"][-1]["type"] == side
    codec = ReferenceCodec(parse_record(whole), answer["id"])
    made.produce([(0, b"A", codec.encode_one(good_bar("A", m) | {"venue": "XNAS"})) for m in range(5)])
    normalize(made)
    assert len(made.read(made.topic("normalized"))) == 5
    assert not made.read(made.topic("quarantine"))
    # What is referred to goes along.
    exported = export_subjects(made.registry, [raw])
    assert {s.name for s in exported.subjects} == {raw, f"{world}.venue-value"}
    found = exported.version(raw, 2)
    assert found is not None
    assert found.schema == whole


def bars(*names: str) -> dict[str, Any]:
    return record({"name": "a", "type": "long"}, *({"name": n, "type": "int", "default": 0} for n in names))


def test_subjects_move_to_another_registry_with_their_ids_and_clashes_stop_it_before_it_begins(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    other = EmbeddedStack(tmp_path / "other", train=False)
    other.start()
    try:
        settings = [RegistrySettings(url=s.registry_url) for s in (stack, other)]
        with Registry(settings[0]) as source, Registry(settings[1]) as target:
            one, two = f"{world}.one-value", f"{world}.two-value"
            source.register(f"{world}.noise-value", bars("noise"))  # so that ids here and there differ
            for schema in (bars(), bars("x")):
                source.register(one, schema)
            source.set_compatibility(one, "FULL_TRANSITIVE")
            source.register(two, bars("x"))
            file = tmp_path / "subjects.json"
            config = tmp_path / "seamless.toml"
            config.write_text(f'[registry]\nurl = "{stack.registry_url}"\n')
            named = ["--subject", one, "--subject", two, "--config", str(config)]
            assert CliRunner().invoke(app, ["schema", "export", str(file), *named]).exit_code == 0
            bundle = Bundle.read(file)
            assert len(import_subjects(target, settings[1], bundle)) == 3
            assert export_subjects(target, [one, two]) == bundle
            assert [target.schema_by_id(v.id) for v in bundle.stored()] == [json.loads(v.text) for v in bundle.stored()]
            # Run again nothing is left to do, and life goes on there.
            assert not import_subjects(target, settings[1], bundle)
            assert target.register(two, bars("x")).id == source.register(two, bars("x")).id
            assert target.register(one, bars("x", "y")).version == 3
            source.register(one, bars("x", "z"))
            source.register(f"{world}.three-value", bars("three"))
            clash = export_subjects(source, [one, f"{world}.three-value"])
            with pytest.raises(RegistryError, match=f"nothing was imported.*{one}@3"):
                import_subjects(target, settings[1], clash)
            assert not target.versions(f"{world}.three-value")
            with pytest.raises(RegistryError, match="has no subject nosuch"):
                export_subjects(source, ["nosuch"])
    finally:
        other.stop()
