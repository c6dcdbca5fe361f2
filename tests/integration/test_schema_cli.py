"""`seamless schema`, `produce` and `tail` as a person uses them, on a real registry and broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from confluent_kafka import Producer
from typer.testing import CliRunner

from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.contract import load_contract
from streams import topics
from streams.cli import app
from streams.clients import producer_config
from streams.clock import Deadline
from streams.errors import ContractError, SeamlessError
from streams.registry import Registry, SchemaRefused
from streams.settings import RegistrySettings
from tests.support.bars import good_bar
from tests.support.worlds import DATASET, World, make_world, read_committed

pytestmark = pytest.mark.kafka


class Cli:
    """The command line with a settings file of this world."""

    def __init__(self, stack: EmbeddedStack, world: str, folder: Path) -> None:
        self.config, self.folder, self.world = folder / "seamless.toml", folder, world
        self._head = (
            f'world = "{world}"\n[kafka]\nbootstrap_servers = "{stack.bootstrap_servers}"\n'
            f'[registry]\nurl = "{stack.registry_url}"\n'
        )
        self.registry = Registry(RegistrySettings(url=stack.registry_url))
        self.dataset()

    def dataset(self, **values: Any) -> None:
        """Write the settings anew, with the dataset `bars` as given."""
        lines = [f"{k} = {json.dumps(v)}" for k, v in ({"contract": "ohlcv"} | values).items()]
        self.config.write_text(self._head + "[datasets.bars]\n" + "\n".join(lines))

    def file(self, name: str, schema: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps(schema))
        return str(path)

    def __call__(self, *args: str) -> Result:
        return CliRunner().invoke(app, [*args, "--config", str(self.config)])

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json").stdout)

    def own_subjects(self) -> list[str]:
        """The subjects of this world alone: tests beside this one register theirs at any moment."""
        return [s for s in self.registry.subjects() if s.startswith(f"{self.world}.")]


@pytest.fixture
def cli(stack: EmbeddedStack, world: str, tmp_path: Path) -> Cli:
    return Cli(stack, world, tmp_path)


def contract_with(**field: Any) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(json.dumps(load_contract("ohlcv").schema))
    schema["fields"].append({"name": "trades", "type": "long", "role": "attribute"} | field)
    return schema


def test_register_registers_all_once_and_finds_it_unchanged_after(cli: Cli) -> None:
    first = cli.json("schema", "register")
    assert {v["subject"] for v in first} == set(cli.own_subjects())
    assert {(v["state"], v["written"], v["version"]) for v in first} == {("new", True, 1)}
    second = cli.json("schema", "register")
    assert {(v["state"], v["written"]) for v in second} == {("registered", False)}
    assert [v["id"] for v in first] == [v["id"] for v in second]


def test_register_guards_contracts_for_all_readers_and_raw_data_for_the_next(cli: Cli) -> None:
    cli("schema", "register")
    levels = {v["subject"]: cli.registry.compatibility(v["subject"]) for v in cli.json("schema", "check")}
    raw = topics.subject(topics.raw(cli.world, DATASET))
    assert levels.pop(raw) == "BACKWARD"
    assert set(levels.values()) == {"FULL_TRANSITIVE"}


def test_register_keeps_the_level_that_somebody_gave_a_raw_subject(cli: Cli) -> None:
    raw = topics.subject(topics.raw(cli.world, DATASET))
    cli("schema", "register")
    cli.registry.set_compatibility(raw, "NONE")
    cli("schema", "register")
    assert cli.registry.compatibility(raw) == "NONE"


def test_check_writes_nothing(cli: Cli) -> None:
    result = cli("schema", "check", "--json")
    assert result.exit_code == 0
    assert {v["state"] for v in json.loads(result.stdout)} == {"new"}
    assert not cli.own_subjects()


def test_a_compatible_change_is_announced_and_becomes_the_next_version(cli: Cli) -> None:
    cli("schema", "register")
    cli.dataset(contract=cli.file("more.avsc", contract_with(default=0)))
    states = {v["role"]: v["state"] for v in cli.json("schema", "check")}
    assert states == {"contract": "compatible", "raw": "compatible", "event": "registered"}
    done = {v["subject"]: v["version"] for v in cli.json("schema", "register") if v["written"]}
    assert len(done) == 3
    assert set(done.values()) == {2}


def test_an_incompatible_change_is_refused_with_what_changed_and_nothing_is_registered(cli: Cli) -> None:
    cli("schema", "register")
    cli.dataset(contract=cli.file("worse.avsc", contract_with()))
    result = cli("schema", "check", "--json")
    assert result.exit_code == 1
    refused = [v for v in json.loads(result.stdout) if v["state"] == "refused"]
    assert any("field trades added" in reason for v in refused for reason in v["reasons"])
    outcome = cli("schema", "register")
    assert isinstance(outcome.exception, SchemaRefused)
    assert "Nothing was registered" in str(outcome.exception)
    latest = cli.registry.latest(topics.subject(topics.normalized(cli.world, DATASET)))
    assert latest is not None
    assert latest.version == 1


def test_a_broken_contract_stops_all_before_anything_is_sent(cli: Cli) -> None:
    broken = contract_with(default=0) | {"rules": [{"name": "r", "sql": "hihg > low", "bit": 40}]}
    cli.dataset(contract=cli.file("broken.avsc", broken))
    outcome = cli("schema", "register")
    assert isinstance(outcome.exception, ContractError)
    assert "no column 'hihg'" in str(outcome.exception)
    assert not cli.own_subjects()
    assert cli("schema", "check").exit_code == 1


def test_an_older_version_is_told_from_the_one_in_force(cli: Cli) -> None:
    cli("schema", "register")
    cli.dataset(contract=cli.file("more.avsc", contract_with(default=0)))
    cli("schema", "register")
    cli.dataset()
    assert {v["newest"] for v in cli.json("schema", "check") if v["role"] == "contract"} == {2}


def test_one_file_is_registered_under_its_subject(cli: Cli) -> None:
    path = cli.file("own.avsc", contract_with(default=0))
    (done,) = cli.json("schema", "register", path, "--subject", f"{cli.world}.own-value")
    assert (done["role"], done["version"], done["compatibility"]) == ("contract", 1, "FULL_TRANSITIVE")
    assert isinstance(cli("schema", "register", path).exception, SeamlessError)


def test_diff_compares_versions_of_a_subject_with_each_other_and_with_contracts(cli: Cli) -> None:
    cli("schema", "register")
    subject = topics.subject(topics.normalized(cli.world, DATASET))
    assert cli("schema", "diff", "ohlcv", subject).exit_code == 0
    cli.dataset(contract=cli.file("more.avsc", contract_with(default=0)))
    cli("schema", "register")
    result = cli("schema", "diff", f"{subject}@1", f"{subject}@2")
    assert result.exit_code == 1
    assert result.stdout.strip() == "field trades added: long, default 0, role attribute"
    assert cli("schema", "diff", subject, f"{subject}@2").exit_code == 0
    assert isinstance(cli("schema", "diff", "ohlcv", f"{subject}@9").exception, ContractError)


@pytest.fixture
def bars_world(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    return make_world(stack, world, tmp_path)


def bars_file(folder: Path, minutes: int, **changes: Any) -> Path:
    rows = [good_bar(s, m, **changes) for m in reversed(range(minutes)) for s in ("AAPL", "007")]
    frame = pl.DataFrame(rows).drop("flags").with_columns(pl.from_epoch("event_time", "us"))
    path = folder / "bars.csv"
    frame.write_csv(path)
    return path


def produce(world: World, file: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["produce", str(file), "-d", DATASET, "--config", str(world.config), *options])


def test_produce_sends_a_file_in_the_order_of_event_time(bars_world: World, tmp_path: Path) -> None:
    result = produce(bars_world, bars_file(tmp_path, 50), "--json")
    summary = json.loads(result.stdout)
    assert (summary["rows"], summary["sent"], summary["delivered"], summary["failed"]) == (100, 100, 100, 0)
    found = bars_world.read(bars_world.topic("raw"))
    assert {m.key() for m in found} == {b"AAPL", b"007"}
    decoded = [pl.Series([m.offset() for m in found if m.key() == k]).is_sorted() for k in (b"AAPL", b"007")]
    assert all(decoded)


def test_produce_refuses_a_file_as_a_whole_and_names_the_row_of_the_file(bars_world: World, tmp_path: Path) -> None:
    path = bars_file(tmp_path, 10)
    lines = path.read_text().splitlines()
    lines[1 + 3] = lines[1 + 3].replace("99.0", "-99.0")
    path.write_text("\n".join(lines))
    outcome = produce(bars_world, path)
    assert "row 3: non_positive_price (low)" in str(outcome.exception)
    assert bars_world.read(bars_world.topic("raw")) == []


def test_produce_stops_at_its_limit(bars_world: World, tmp_path: Path) -> None:
    produce(bars_world, bars_file(tmp_path, 10), "--limit", "3")
    assert len(bars_world.read(bars_world.topic("raw"))) == 3


def test_ctrl_c_stops_a_paced_replay_and_says_what_was_delivered(bars_world: World, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from streams.cli import main; main()", "produce", str(bars_file(tmp_path, 60))]
    options = ["-d", DATASET, "--speed", "60x", "--json", "--config", str(bars_world.config)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        deadline = Deadline(90)
        while len(read_committed(bars_world.settings, bars_world.topic("raw"))) < 4:
            assert not deadline.passed()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    summary = json.loads(out)
    assert process.returncode == 130
    assert summary["interrupted"]
    assert 4 <= summary["delivered"] < 120
    assert len(bars_world.read(bars_world.topic("raw"))) == summary["delivered"]


def test_tail_shows_rows_with_flags_by_name_up_to_its_limit(bars_world: World) -> None:
    gap = load_contract("ohlcv").findings["gap"].mask
    codec = ReferenceCodec(parse_record(bars_world.contract_schema.schema), bars_world.contract_schema.id)
    producer = Producer(producer_config(bars_world.settings))
    for minute in range(5):
        row = good_bar("AAPL", minute, flags=gap, close=float("nan"))
        producer.produce(bars_world.topic("normalized"), codec.encode_one(row), b"AAPL")
    assert producer.flush(30) == 0
    args = ["tail", DATASET, "--from", "earliest", "-s", "AAPL", "--config", str(bars_world.config)]
    shown = CliRunner().invoke(app, [*args, "--limit", "3"]).stdout.splitlines()
    assert shown[0].split()[:2] == ["symbol", "event_time"]
    assert [line.split()[-1] for line in shown[1:]] == ["gap"] * 3
    rows = [json.loads(line) for line in CliRunner().invoke(app, [*args, "--json", "--until-end"]).stdout.splitlines()]
    assert len(rows) == 5
    assert rows[0]["flag_names"] == ["gap"]
    assert rows[0]["event_time"] == "2023-11-14T22:14:00.000000Z"
    assert rows[0]["close"] is None  # JSON has no NaN


def test_tail_of_nothing_shows_nothing_and_bad_arguments_are_explained(cli: Cli) -> None:
    cli("schema", "register")
    assert cli("topics", "apply").exit_code == 0
    assert "nosuch" in str(cli("tail", "nosuch").exception)
    empty = cli("tail", "bars", "--until-end", "--from", "earliest")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "give the time a zone" in str(cli("tail", "bars", "--from", "2024-01-02").exception)
