"""A contract that says something wrong is refused, by the name of the field or rule and the reason."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import Contract, contract_names, load_contract, read_avsc
from schemas.errors import ContractError
from schemas.findings import STANDARD, Severity

SHIPPED = contract_names()


def schema() -> dict[str, Any]:
    """A small contract, free to be broken."""
    return {
        "type": "record",
        "name": "T",
        "namespace": "a.b",
        "identity": ["k", "t"],
        "rules": [{"name": "rising", "sql": "y >= x", "bit": 40}],
        "fields": [
            {"name": "k", "type": "string", "role": "key"},
            {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}, "role": "event_time"},
            {"name": "x", "type": "double", "role": "price", "finite": True, "min": 0},
            {"name": "y", "type": ["null", "long"], "default": None},
            {"name": "flags", "type": "long", "role": "flags", "default": 0},
        ],
    }


def field(of: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in of["fields"] if f["name"] == name)
    return found


def test_a_contract_tells_roles_identity_content_and_findings() -> None:
    made = Contract.parse(schema())
    assert (made.name, made.key, made.event_time, made.flags) == ("a.b.T", "k", "t", "flags")
    assert made.identity == ("k", "t")
    assert made.content == ("x", "y")
    assert made.time_units == 1_000_000
    assert made.findings["rising"].bit == 40
    assert made.findings["rising"].severity is Severity.VIOLATION
    assert set(made.findings) == {*STANDARD, "rising"}


FIELD_REFUSALS = [
    ("x", {"role": "prize"}, "field x: role 'prize' is unknown"),
    ("x", {"role": ["price"]}, "field x: role .* is unknown"),
    ("x", {"minimum": 0}, "field x: attribute 'minimum' is unknown: a field may have .*min"),
    ("x", {"exclusiveMin": 0}, "field x: give min or exclusiveMin, not both"),
    ("x", {"max": 1, "exclusiveMax": 2}, "field x: give max or exclusiveMax, not both"),
    ("x", {"min": "0"}, "field x: min must be a number, not '0'"),
    ("x", {"max": True}, "field x: max must be a number, not True"),
    ("x", {"finite": "yes"}, "field x: finite must be true or false"),
    ("x", {"type": "string"}, "field x: rule 'min' needs a number, but the type is string"),
    ("k", {"finite": True}, "field k: rule 'finite' needs a number, but the type is string"),
    ("x", {"type": "bytes"}, "field x: a contract's fields are boolean, int"),
    ("x", {"type": {"type": "array", "items": "int"}}, "field x: a contract's fields are boolean, int"),
    ("x", {"default": "much"}, "not a valid Avro schema: .*much"),
    ("k", {"type": "long"}, "field k: the key must be a string that is not nullable"),
    ("k", {"type": ["null", "string"]}, "field k: the key must be a string that is not nullable"),
    ("t", {"type": "long"}, "field t: the event time must be a long with logicalType timestamp-millis"),
    ("t", {"type": "string"}, "field t: the event time must be a long"),
    (
        "t",
        {"type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        "field t: the event time must be a long",
    ),
    (
        "t",
        {"type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        "field t: the event time must be a long",
    ),
    ("flags", {"default": 1}, "field flags: the flags must be a long with default 0"),
    ("flags", {"type": "int"}, "field flags: the flags must be a long with default 0"),
    ("x", {"role": "key"}, 'exactly one field must have "role": "key"; k, x have it'),
    ("x", {"role": "event_time"}, 'exactly one field must have "role": "event_time"; t, x have it'),
    ("flags", {"role": "attribute"}, 'exactly one field must have "role": "flags"; none has it'),
]


@pytest.mark.parametrize(("name", "change", "message"), FIELD_REFUSALS)
def test_a_field_that_cannot_be_is_refused_by_name_and_reason(name: str, change: dict[str, Any], message: str) -> None:
    broken = schema()
    field(broken, name).update(change)
    with pytest.raises(ContractError, match=message):
        Contract.parse(broken)


RECORD_REFUSALS = [
    ({"type": "enum"}, 'not an Avro record: it needs "type": "record"'),
    ({"name": ""}, "the schema has no name"),
    ({"fields": []}, '"fields" must be a list with at least one field'),
    ({"fields": [{"type": "int"}]}, 'every field needs a "name"'),
    ({"fields": [{"name": "k"}]}, 'field k: "type" is missing'),
    ({"fields": [{"name": "k", "type": "int"}] * 2}, "two fields are named 'k'"),
    ({"owner": "me"}, "record attribute 'owner' is unknown: a contract may have identity, rules, severities"),
    ({"identity": []}, 'the record needs "identity"'),
    ({"identity": "k"}, 'the record needs "identity"'),
    ({"identity": ["k", "z"]}, "identity names the field 'z', which the record does not have"),
    ({"identity": ["t"]}, "identity must hold the key, 'k'"),
    ({"identity": ["k", "flags"]}, "identity must not hold 'flags'"),
    ({"severities": ["late"]}, '"severities" must be an object'),
    ({"severities": {"tardy": "warning"}}, "severities names 'tardy', which is no finding: use one of .*late"),
    ({"severities": {"late": "bad"}}, "severities.late: severity 'bad' must be warning or violation"),
    ({"rules": {"name": "r"}}, '"rules" must be a list'),
    ({"rules": ["x > 0"]}, 'every rule needs a "name"'),
    ({"rules": [{"name": "r", "bit": 40}]}, 'rule r: "sql" must be a boolean expression'),
    ({"rules": [{"name": "r", "sql": "x > 0"}]}, 'rule r: "bit" must be a number from 32 to 62'),
    ({"rules": [{"name": "r", "sql": "x > 0", "bit": 31}]}, 'rule r: "bit" must be a number from 32 to 62'),
    ({"rules": [{"name": "r", "sql": "x > 0", "bit": 63}]}, 'rule r: "bit" must be a number from 32 to 62'),
    ({"rules": [{"name": "r", "sql": "x > 0", "bit": True}]}, 'rule r: "bit" must be a number from 32 to 62'),
    (
        {"rules": [{"name": "r", "sql": "x > 0", "bit": 40, "severity": "fatal"}]},
        "rule r: severity 'fatal' must be warning or violation",
    ),
    ({"rules": [{"name": "r", "sql": "x > 0", "bit": 40, "when": "now"}]}, "rule r: when is unknown"),
    ({"rules": [{"name": "late", "sql": "x > 0", "bit": 40}]}, "rule late: the name is taken by another finding"),
    (
        {"rules": [{"name": "r", "sql": "x > 0", "bit": 40}, {"name": "s", "sql": "x > 0", "bit": 40}]},
        "rule s: bit 40 is taken by another rule",
    ),
    (
        {"rules": [{"name": "r", "sql": "x > 0", "bit": 40}, {"name": "r", "sql": "x > 0", "bit": 41}]},
        "rule r: the name is taken by another finding",
    ),
]


@pytest.mark.parametrize(("change", "message"), RECORD_REFUSALS)
def test_a_record_that_cannot_be_a_contract_is_refused_with_the_reason(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        Contract.parse({**schema(), **change})


@pytest.mark.parametrize("name", [n for n, f in STANDARD.items() if not f.adjustable])
def test_the_severity_of_a_finding_that_leaves_no_choice_cannot_be_changed(name: str) -> None:
    with pytest.raises(ContractError, match=f"the severity of '{name}' is fixed at"):
        Contract.parse({**schema(), "severities": {name: "warning"}})


def test_other_severities_are_the_contracts_to_choose() -> None:
    made = Contract.parse({**schema(), "severities": {"late": "violation", "non_finite": "warning"}})
    assert made.findings["late"].severity is Severity.VIOLATION
    assert made.violation_mask & made.findings["late"].mask
    assert not made.violation_mask & made.findings["non_finite"].mask
    assert STANDARD["late"].severity is Severity.WARNING


def test_flags_are_explained_in_the_order_of_their_bits() -> None:
    made = Contract.parse(schema())
    flags = made.findings["rising"].mask | made.findings["gap"].mask | made.findings["dtype_cast"].mask
    assert [f.name for f in made.explain(flags)] == ["dtype_cast", "gap", "rising"]
    assert made.explain(0) == []


def test_the_fingerprint_is_of_the_schema_with_its_attributes() -> None:
    made = Contract.parse(schema())
    assert made.fingerprint == Contract.parse(copy.deepcopy(schema())).fingerprint
    changed = schema()
    field(changed, "x")["min"] = 1
    assert made.fingerprint != Contract.parse(changed).fingerprint
    assert len(made.fingerprint) == 16


def test_bits_of_standard_findings_never_change() -> None:
    assert {f.name: f.bit for f in STANDARD.values()} == {
        "dtype_cast": 0,
        "ts_cast": 1,
        "ts_timezone_normalized": 2,
        "missing_column": 3,
        "duplicate_ts": 4,
        "revision": 5,
        "gap": 6,
        "out_of_order": 7,
        "late": 8,
        "non_finite": 9,
        "invalid_timestamp": 10,
        "dtype_mismatch": 11,
        "missing_value": 12,
        "undecodable": 13,
        "unknown_schema": 14,
        "incompatible_schema": 15,
        "non_positive_price": 16,
        "negative_size": 17,
        "below_min": 18,
        "above_max": 19,
    }


def test_the_shipped_contracts_are_bars_trades_and_quotes() -> None:
    assert SHIPPED == ["ohlcv", "quote", "trade"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_contract_is_documented_field_by_field_and_rule_by_rule(name: str) -> None:
    made = load_contract(name)
    assert made.schema["doc"].endswith(".")
    for f in made.record.fields.values():
        assert f.doc.endswith("."), f.name
        assert "role" in f.attributes, f.name
        if f.type in {"double", "long"} and f.attributes["role"] in {"event_time", "price", "size"}:
            assert f.attributes["unit"], f.name
    for rule in made.rules:
        assert rule.finding.doc.endswith("."), rule.name


@pytest.mark.parametrize("name", SHIPPED)
def test_no_alias_of_a_shipped_contract_means_two_fields(name: str) -> None:
    names = [n for f in load_contract(name).record.fields.values() for n in (f.name, *f.aliases)]
    assert len(names) == len(set(names))


def test_a_contract_is_loaded_from_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.avsc"
    path.write_text(json.dumps(schema()), encoding="utf-8")
    assert load_contract(str(path)).name == "a.b.T"


def test_an_unknown_contract_is_refused_with_those_there_are() -> None:
    with pytest.raises(ContractError, match="no contract 'bars': use one of ohlcv, quote, trade, or the path"):
        load_contract("bars")


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_file_that_is_no_schema_is_refused_by_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.avsc"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ContractError, match=r"broken\.avsc: "):
        read_avsc(path)
