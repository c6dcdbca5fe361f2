"""The road of docs/governance.md, typed as it stands there: from rows of unregistered schemas to strict, and back."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec import Encoder
from schemas.columns import arrow_schema
from streams import topics
from streams.cli import app
from streams.clients import producer_config
from streams.events import EventCodec
from streams.registry import Registry
from streams.settings import Settings, load_settings
from tests.support.bars import good_bar
from tests.support.worlds import read_committed

pytestmark = pytest.mark.kafka

GUIDE = (Path(__file__).parents[2] / "docs" / "governance.md").read_text(encoding="utf-8")
DATASET = "ohlcv.us.1d"


def station(number: int) -> list[str]:
    """Return the commands of a station of the road."""
    part = GUIDE.partition("\n## The road\n")[2].partition("\n## ")[0]
    text = re.split(r"^### \d+\. .*$", part, flags=re.M)[number]
    return [line for block in re.findall(r"```console\n(.*?)```", text, re.S) for line in block.splitlines()]


class Road:
    """A folder with settings, where commands are typed, and teams that write without asking them."""

    def __init__(self, stack: EmbeddedStack, world: str, folder: Path) -> None:
        (folder / "seamless.toml").write_text(
            f'world = "{world}"\n[kafka]\nbootstrap_servers = "{stack.bootstrap_servers}"\n'
            f'[registry]\nurl = "{stack.registry_url}"\n[quarantine]\nmax_share = 1.0\n'
            f'[datasets."{DATASET}"]\ncontract = "ohlcv"\ninterval = "1m"\nmode = "blocking"\n'
        )
        self.settings: Settings = load_settings(folder / "seamless.toml", env={})
        self.registry = Registry(self.settings.registry)
        self.raw = topics.raw(world, DATASET)
        self.subject = topics.subject(self.raw)
        self.minute = 0

    def type(self, command: str, *, fails: bool = False) -> str:
        """Type a command; return what it prints."""
        program, *words = shlex.split(command)
        assert program == "seamless"
        done = CliRunner().invoke(app, words)
        assert (done.exit_code != 0) == fails, f"{command}\n{done.output}\n{done.exception}"
        return done.stdout

    def write(self, schema: dict[str, Any], schema_id: int, rows: int, symbols: int = 500) -> None:
        """Write bars as a team does that frames its records itself."""
        record = parse_record(schema)
        minutes = range(self.minute, self.minute + rows // symbols)
        self.minute = minutes.stop
        bars = [good_bar(f"S{s}", m) | {"venue": "X", "lot": 1, "note": ""} for m in minutes for s in range(symbols)]
        columns = arrow_schema(record)
        batch = pl.DataFrame(bars).select(columns.names).to_arrow().cast(columns).combine_chunks().to_batches()[0]
        producer = Producer(producer_config(self.settings))
        for bar, payload in zip(bars, Encoder(record, schema_id).encode(batch), strict=True):
            while True:
                try:
                    producer.produce(self.raw, payload, bar["symbol"])
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(60) == 0
        self.type("seamless normalize --until-end")

    def quarantined(self) -> Counter[str]:
        topic = topics.quarantine(self.settings.world, DATASET)
        codec = EventCodec(self.registry, topic, "quarantined_row")
        rows = (codec.decode(m.value() or b"") for m in read_committed(self.settings, topic))
        return Counter(reason["flag"] for row in rows for reason in row["reasons"])


def with_field(schema: dict[str, Any], **field: Any) -> dict[str, Any]:
    return {**schema, "fields": [*schema["fields"], field]}


def test_the_road_leads_from_unregistered_schemas_to_strict_and_back(
    stack: EmbeddedStack, world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logging_as_it_was: None
) -> None:
    monkeypatch.chdir(tmp_path)
    road = Road(stack, world, tmp_path)
    for command in station(1):
        road.type(command)
    latest = road.registry.latest(road.subject)
    assert latest is not None

    # Teams that register their schemas somewhere else write, too.
    def elsewhere(schema: dict[str, Any]) -> int:
        return road.registry.register(f"{world}.team{len(schema['fields'])}-value", schema).id

    one = with_field(latest.schema, name="venue", type="string", default="")
    two = with_field(one, name="lot", type="int", default=0)
    road.write(latest.schema, latest.id, 2_000)
    road.write(one, elsewhere(one), 1_000)
    assert not road.quarantined()
    shown, dry_run = station(2)
    assert f"{DATASET}: optional" in road.type(shown)
    told = road.type(dry_run, fails=True)
    assert "pass  conformance: no violation in 3,000 rows" in told
    assert f"FAIL  producers: some write what strict refuses: id {elsewhere(one)} (1,000 rows, unknown_sch" in told
    assert "FAIL  compatibility: the raw subject is BACKWARD" in told

    # The first team checks its schema, sees what would break, and registers what does not.
    def file(schema: dict[str, Any]) -> str:
        (tmp_path / "team.avsc").write_text(json.dumps(schema))
        return f"seamless schema check team.avsc --subject {road.subject}"

    (guard,) = station(3)
    assert "FULL_TRANSITIVE (was BACKWARD)" in road.type(guard)
    assert "field venue" in road.type(file(with_field(latest.schema, name="venue", type="string")), fails=True)
    (canary,) = station(4)
    assert "FAIL  producers" in road.type(canary, fails=True)
    road.type(file(one))
    road.type(file(one).replace(" check ", " register "))
    road.write(one, elsewhere(one), 1_000)
    assert f"{DATASET} is canary now" in road.type(canary)

    # What strict would refuse of all rows is seen before it is at stake for more than a share of them.
    (strict,) = station(5)
    road.write(two, elsewhere(two), 1_000)
    share = road.quarantined()["unknown_schema"]
    assert 0 < share < 500
    told = road.type(strict, fails=True)
    assert "FAIL  canary: strict would refuse unknown_schema (1,000 rows)" in told
    road.type(file(two).replace(" check ", " register "))
    road.write(two, elsewhere(two), 99_000)
    assert "FAIL  canary: clean for 99,000 rows" in road.type(strict, fails=True)
    road.write(latest.schema, latest.id, 1_000)
    assert f"{DATASET} is strict now" in road.type(strict)

    three = with_field(two, name="note", type="string", default="")
    road.write(two, elsewhere(two), 1_000)
    road.write(three, elsewhere(three), 1_000)
    assert road.quarantined() == {"unknown_schema": share + 1_000}
    back, audit = station(6)
    assert f"{DATASET}: optional" in road.type(back)
    road.write(three, elsewhere(three), 1_000)
    assert road.quarantined() == {"unknown_schema": share + 1_000}

    entries = json.loads(road.type(f"{audit} --json"))["entries"]
    steps = [(e["what"], e["after"], e["forced"]) for e in entries if e["what"] in {"promoted", "demoted"}]
    assert steps == [
        ("promoted", "canary at FULL_TRANSITIVE for 10% of the keys", False),
        ("promoted", "strict at FULL_TRANSITIVE", False),
        ("demoted", "optional", False),
    ]
    assert all(len(e["evidence"]) >= 4 for e in entries if e["what"] == "promoted")
    refused = {e["schema_id"] for e in entries if e["what"] == "refused" and e["schema_id"]}
    assert refused == {elsewhere(two), elsewhere(three)}
    assert road.type(audit).count("\n") >= len(entries)
