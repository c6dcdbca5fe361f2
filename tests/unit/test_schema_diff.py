"""Differences between schemas, in words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from schemas.contract import contract_names, load_contract
from schemas.diff import schema_diff
from schemas.errors import ContractError

Schema = dict[str, Any]

BAR: Schema = {
    "type": "record",
    "name": "Bar",
    "rules": [{"name": "high_below_low", "sql": "high >= low", "bit": 32}],
    "fields": [
        {"name": "symbol", "type": "string", "role": "key"},
        {"name": "high", "type": "double", "min": 0, "aliases": ["h"]},
        {"name": "low", "type": ["null", "double"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def changed(change: Callable[[Schema], Any]) -> list[str]:
    other = copy.deepcopy(BAR)
    change(other)
    return [str(c) for c in schema_diff(BAR, other)]


@pytest.mark.parametrize("name", contract_names())
def test_a_schema_does_not_differ_from_itself(name: str) -> None:
    schema = load_contract(name).schema
    assert schema_diff(schema, copy.deepcopy(schema)) == []


def test_the_order_of_json_keys_makes_no_difference() -> None:
    assert schema_diff(BAR, dict(reversed(BAR.items()))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s["fields"].append({"name": "volume", "type": "long", "default": 0, "role": "size"}),
            "field volume added: long, default 0, role size",
        ),
        (lambda s: s["fields"].pop(2), "field low removed: double, nullable, default null"),
        (lambda s: s["fields"][1].update(type="float"), "field high: type changed from double to float"),
        (
            lambda s: s["fields"][3]["type"].update(logicalType="timestamp-micros"),
            "field at: type changed from long (timestamp-millis) to long (timestamp-micros)",
        ),
        (
            lambda s: s["fields"][2].update(type=["double", "null"]),
            'field low: type changed from ["null", "double"] to ["double", "null"]',
        ),
        (lambda s: s["fields"][2].pop("default"), "field low: default null removed"),
        (lambda s: s["fields"][1].update(default=1), "field high: default 1 added"),
        (lambda s: s["fields"][0].update(role="id"), 'field symbol: role changed from "key" to "id"'),
        (lambda s: s["fields"][1].update(min=1), "field high: min changed from 0 to 1"),
        (lambda s: s["fields"][1].update(min=False), "field high: min changed from 0 to false"),
        (lambda s: s["fields"][1].update(unit="USD"), 'field high: unit "USD" added'),
        (lambda s: s["fields"][1].update(aliases=["H"]), 'field high: aliases changed from ["h"] to ["H"]'),
        (lambda s: s.update(rules=[]), "rule high_below_low removed: high >= low (bit 32, violation)"),
        (lambda s: s["rules"][0].update(bit=40), "rule high_below_low: bit changed from 32 to 40"),
        (
            lambda s: s["rules"][0].update(sql="high > low"),
            'rule high_below_low: sql changed from "high >= low" to "high > low"',
        ),
        (
            lambda s: s["rules"].append({"name": "flat", "sql": "low > 0", "bit": 33, "severity": "warning"}),
            "rule flat added: low > 0 (bit 33, warning)",
        ),
        (lambda s: s.update(identity=["symbol"]), 'the record: identity ["symbol"] added'),
        (lambda s: s.update(name="Candle"), 'the record: name changed from "Bar" to "Candle"'),
        (
            lambda s: s["fields"].insert(0, s["fields"].pop()),
            "the record: order of fields changed from symbol, high, low, at to at, symbol, high, low",
        ),
    ],
)
def test_each_kind_of_change_is_said_in_words_and_nothing_else_is(change: Callable[[Schema], Any], words: str) -> None:
    assert changed(change) == [words]


def test_rules_that_cannot_be_told_apart_are_compared_as_a_whole() -> None:
    other = {**BAR, "rules": [*BAR["rules"], *BAR["rules"]]}
    assert [(c.where, c.what) for c in schema_diff(BAR, other)] == [("the record", "rules")]


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(ContractError, match="not an Avro record"):
        schema_diff(BAR, {"type": "string"})
