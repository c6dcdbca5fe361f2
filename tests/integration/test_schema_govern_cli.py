"""`seamless schema mode` and `audit` as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from operations.stack import EmbeddedStack
from streams import topics
from streams.cli import app
from streams.errors import SettingsError
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka


class Cli:
    """The command line in a prepared world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, *args: str) -> Result:
        return CliRunner().invoke(app, ["schema", *args, "--config", str(self.world.config)])

    def json(self, *args: str) -> Any:
        found = self(*args, "--json")
        assert found.exception is None, found.exception
        return json.loads(found.stdout)


@pytest.fixture
def cli(stack: EmbeddedStack, world: str, tmp_path: Path) -> Cli:
    return Cli(make_world(stack, world, tmp_path))


def test_a_mode_is_shown_set_with_a_reason_and_told_in_the_trail(cli: Cli) -> None:
    assert cli.json("mode", DATASET)["mode"] == "optional"
    assert "as the settings say" in cli("mode", DATASET).stdout
    refused = cli("mode", DATASET, "strict")
    assert isinstance(refused.exception, SettingsError)
    assert "--reason" in str(refused.exception)
    assert isinstance(cli("mode", DATASET, "lenient", "--reason", "x").exception, SettingsError)
    assert isinstance(cli("mode", "nosuch").exception, SettingsError)

    canary = ["--reason", "a first look", "--share", "0.25", "--producer", "feed", "--compatibility", "BACKWARD"]
    set_now = cli.json("mode", DATASET, "canary", *canary)
    assert (set_now["mode"], set_now["share"], set_now["producers"]) == ("canary", 0.25, ["feed"])
    assert cli.json("mode", DATASET) == set_now
    # What is not said stays as it was.
    assert cli.json("mode", DATASET, "strict", "--reason", "clean")["compatibility"] == "BACKWARD"
    assert "strict at BACKWARD" in cli("mode", DATASET).stdout

    entries = cli.json("audit", "--since", "1h", "-d", DATASET)["entries"]
    assert [(e["what"], e["before"], e["after"], e["reason"]) for e in entries] == [
        ("mode", "optional", "canary at BACKWARD for 25% of the keys and the producers feed", "a first look"),
        ("mode", "canary at BACKWARD for 25% of the keys and the producers feed", "strict at BACKWARD", "clean"),
    ]
    assert all("@" in e["by"] for e in entries)
    assert cli.json("audit", "--since", "2000-01-01T00:00Z")["entries"] == entries
    assert cli.json("audit", "--since", "2100-01-01T00:00Z")["entries"] == []
    assert isinstance(cli("audit", "--since", "yesterday").exception, SettingsError)
    assert isinstance(cli("audit", "--since", "2000-01-01").exception, SettingsError)


def test_registrations_are_told_with_who_did_them_and_those_behind_our_back_are_found(cli: Cli) -> None:
    raw = topics.subject(cli.world.topic("raw"))
    schema = json.loads(json.dumps(cli.world.raw_schema.schema))
    schema["fields"].append({"name": "venue", "type": "string", "default": ""})
    path = cli.world.config.parent / "venue.avsc"
    path.write_text(json.dumps(schema))
    cli("register", str(path), "--subject", raw)
    (entry,) = cli.json("audit")["entries"]
    assert (entry["what"], entry["subject"], entry["version"], entry["before"]) == ("registered", raw, 2, "version 1")

    # The world's first versions were registered by the test itself, and not by our tools.
    found = cli.json("audit", "-d", DATASET)["unrecorded"]
    assert {"subject": raw, "version": 1, "dataset": DATASET} in found
    assert not [u for u in found if u["version"] == 2]
    assert f"version 1 of {raw}" in cli("audit").stdout
    assert not cli.json("audit", "--acknowledge", "they were there before the trail")["unrecorded"]
    assert not cli.json("audit")["unrecorded"]


def test_a_refused_registration_is_told_with_its_reason(cli: Cli) -> None:
    schema = json.loads(json.dumps(cli.world.contract_schema.schema))
    schema["fields"].append({"name": "venue", "type": "string"})
    path = cli.world.config.parent / "worse.avsc"
    path.write_text(json.dumps(schema))
    cli.world.registry.set_compatibility(topics.subject(cli.world.topic("normalized")), "FULL_TRANSITIVE")
    assert cli("register", str(path), "--subject", topics.subject(cli.world.topic("normalized"))).exception is not None
    (entry,) = cli.json("audit")["entries"]
    assert entry["what"] == "refused"
    assert "Nothing was registered" in entry["reason"]
    assert entry["dataset"] == DATASET
