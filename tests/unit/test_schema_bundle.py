"""Checks without a registry: exported subjects answer as the registry would, and comments name the very fields."""

from __future__ import annotations

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from schemas.contract import load_contract
from schemas.errors import ContractError
from schemas.naming import problems_of_names
from schemas.references import inlined
from streams.cli import app
from streams.registry import StoredVersion, canonical
from streams.schema_bundle import Bundle, BundledSubject

BAR = load_contract("ohlcv").schema
RAW = "live.raw.bars-value"
MONEY = {"type": "record", "name": "Money", "namespace": "shared", "fields": [{"name": "units", "type": "long"}]}


def changed(**field: Any) -> dict[str, Any]:
    schema = copy.deepcopy(BAR)
    schema["fields"].append(field)
    return schema


def bundle(level: str = "FULL_TRANSITIVE", *schemas: dict[str, Any]) -> Bundle:
    versions = [StoredVersion(RAW, 10 + n, n, canonical(s)) for n, s in enumerate(schemas or (BAR,), 1)]
    return Bundle((BundledSubject(RAW, level, tuple(versions)),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle().write(tmp_path / "subjects.json")
    (tmp_path / "seamless.toml").write_text('[datasets.bars]\ncontract = "ohlcv"\n')
    return tmp_path


def check(folder: Path, schema: dict[str, Any], *options: str) -> Result:
    (folder / "next.avsc").write_text(json.dumps(schema))
    named = ["--subject", RAW, "--against", str(folder / "subjects.json"), "--config", str(folder / "seamless.toml")]
    return CliRunner().invoke(app, ["schema", "check", str(folder / "next.avsc"), *named, *options])


def test_a_bundle_survives_its_file_and_equal_ones_make_equal_files(tmp_path: Path) -> None:
    made = bundle("BACKWARD", BAR, changed(name="venue", type="string", default=""))
    made.write(tmp_path / "a.json")
    again = Bundle.read(tmp_path / "a.json")
    assert again == made
    again.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert again.versions(RAW) == [1, 2]
    assert again.lookup(RAW, BAR) == again.version(RAW, 1)
    assert again.latest(RAW) == again.version(RAW, 2)
    assert again.latest("nosuch") is None


def test_what_is_no_export_is_refused_with_the_remedy(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"format": 1}', '{"format": 9, "subjects": []}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ContractError, match="export"):
            Bundle.read(tmp_path / "x.json")


def test_a_team_checks_its_next_schema_offline(folder: Path) -> None:
    fine = check(folder, changed(name="venue", type="string", default=""), "--json")
    assert fine.exit_code == 0
    assert [v["state"] for v in json.loads(fine.stdout)] == ["compatible"]
    worse = check(folder, changed(name="venue", type="string"), "--json")
    assert worse.exit_code == 1
    (verdict,) = json.loads(worse.stdout)
    assert verdict["state"] == "refused"
    assert [(b["field"], b["direction"], b["version"], b["old"], b["new"]) for b in verdict["breaks"]] == [
        ("venue", "backward", 1, "nothing", "string, no default")
    ]
    assert "needs a default" in check(folder, changed(name="venue", type="string")).stdout


def test_a_comment_has_the_fields_that_break_with_old_and_new(folder: Path) -> None:
    schema = copy.deepcopy(BAR)
    next(f for f in schema["fields"] if f["name"] == "close")["type"] = "float"
    text = check(folder, schema, "--markdown").stdout
    assert "### Schemas: 1 to mend" in text
    assert f"| `{RAW}` |" in text
    assert "| `close` | 1, backward | double | float | keep the type" in text
    assert "- since version 1: field close: type changed from double to float" in text
    assert check(folder, schema, "--markdown").stdout == text
    assert "all is well" in check(folder, changed(name="venue", type="string", default=""), "--markdown").stdout


def test_a_change_of_meaning_is_refused_although_it_is_compatible(folder: Path) -> None:
    schema = copy.deepcopy(BAR)
    at = next(f for f in schema["fields"] if f["name"] == "event_time")
    at["type"] = {"type": "long", "logicalType": "timestamp-millis"}
    result = check(folder, schema, "--json")
    assert result.exit_code == 1
    assert "logicalType was timestamp-micros" in json.loads(result.stdout)[0]["reasons"][-1]


def test_all_that_the_settings_call_for_is_checked_with_the_exceptions(folder: Path) -> None:
    args = ["schema", "check", "--against", str(folder / "subjects.json"), "--config", str(folder / "seamless.toml")]
    assert CliRunner().invoke(app, args).exit_code == 0
    with (folder / "seamless.toml").open("a") as settings:
        settings.write('[conformance]\nexceptions = "exceptions.toml"\n')
    (folder / "exceptions.toml").write_text(
        '[[exception]]\ndataset = "bars"\nrule = "non_finite"\nreason = "x"\nowner = "a"\napprover = "b"\n'
        f"expires = {date(2020, 1, 1)}\n"
    )
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1
    assert "it has expired" in result.stdout
    assert "#### Exceptions" in CliRunner().invoke(app, [*args, "--markdown"]).stdout
    told = json.loads(CliRunner().invoke(app, [*args, "--json"]).stdout)
    assert [v["role"] for v in told if v["state"] == "broken"] == ["exception"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("_as_of", "are reserved"),
        ("seamless_row", "are reserved"),
        ("Venue", "lower-case words"),
        ("venueName", "lower-case words"),
        ("a-b", "no Avro name"),
        ("venue_2", None),
    ],
)
def test_names_of_a_contract_are_columns(name: str, says: str | None) -> None:
    found = [problem for field, problem in problems_of_names(changed(name=name, type="string"), contract=True)]
    assert (says is None and not found) or (says is not None and any(says in problem for problem in found))


def test_names_that_differ_in_case_alone_are_told_and_a_vendors_are_its_own() -> None:
    vendor = {"type": "record", "name": "V", "fields": [{"name": n, "type": "int"} for n in ("Close", "close")]}
    assert [field for field, _ in problems_of_names(vendor, contract=False)] == ["close"]
    assert not list(problems_of_names(changed(name="x", type="int"), contract=False))


def test_references_are_written_out_where_a_type_is_first_used() -> None:
    fields = [{"name": "a", "type": "Money"}, {"name": "b", "type": ["null", "shared.Money"]}]
    trade = {"type": "record", "name": "Trade", "namespace": "shared", "fields": fields}
    whole = inlined(trade, {"shared.Money": MONEY})
    assert whole["fields"][0]["type"] == MONEY
    assert whole["fields"][1]["type"] == ["null", "shared.Money"]
    stored = [
        BundledSubject("money-value", "FULL", (StoredVersion("money-value", 1, 1, json.dumps(MONEY)),)),
        BundledSubject(
            "trade-value",
            "FULL",
            (StoredVersion("trade-value", 2, 1, json.dumps(trade), (("shared.Money", "money-value", 1),)),),
        ),
    ]
    found = Bundle(tuple(stored)).version("trade-value", 1)
    assert found is not None
    assert found.schema == whole
