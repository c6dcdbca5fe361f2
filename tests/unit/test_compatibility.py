"""Compatibility: our check against Avro's own and against a reader that reads; the registry is asked in integration."""

from __future__ import annotations

import copy
import json
from typing import Any

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from schemas.compatibility import LEVELS, breaks, cannot_read, changed_meaning, covers
from schemas.contract import load_contract
from schemas.errors import ContractError
from tests.support.evolutions import STEPS, Step, really_reads, record


def avro_reads(reader: dict[str, Any], writer: dict[str, Any]) -> bool:
    parsed = [avro.schema.parse(json.dumps(schema)) for schema in (reader, writer)]
    answer = ReaderWriterCompatibilityChecker().get_compatibility(*parsed)
    return bool(answer.compatibility is SchemaCompatibilityType.compatible)


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.name)
def test_our_check_avros_own_and_a_reader_agree_in_both_directions(step: Step) -> None:
    assert (not cannot_read(step.new, step.old)) == step.backward
    assert (not cannot_read(step.old, step.new)) == step.forward
    assert avro_reads(step.new, step.old) == step.backward
    assert avro_reads(step.old, step.new) == step.forward
    assert really_reads(step.new, step.old, step.old_rows) == step.backward
    assert really_reads(step.old, step.new, step.new_rows) == step.forward


@pytest.mark.parametrize("step", [s for s in STEPS if not (s.backward and s.forward)], ids=lambda s: s.name)
def test_what_breaks_names_the_very_field_with_old_and_new_and_a_remedy(step: Step) -> None:
    found = breaks("FULL", step.new, [(3, step.old)])
    assert {(b.version, b.what.field) for b in found} >= {(3, step.field)}
    assert {b.direction for b in found} == ({"backward"} if not step.backward else set()) | (
        {"forward"} if not step.forward else set()
    )
    for each in found:
        assert each.old != each.new
        assert each.what.remedy in str(each)


def test_a_level_looks_at_the_versions_and_in_the_directions_that_it_promises() -> None:
    first, second = record({"name": "a", "type": "long"}), record({"name": "b", "type": "long", "default": 0})
    third = record({"name": "b", "type": "long"})
    earlier = [(1, first), (2, second)]
    assert not breaks("BACKWARD", third, earlier)
    assert [b.version for b in breaks("BACKWARD_TRANSITIVE", third, earlier)] == [1]
    assert [b.direction for b in breaks("FULL_TRANSITIVE", third, earlier)] == ["backward", "forward"]
    assert not breaks("NONE", third, earlier)
    assert not breaks("FULL_TRANSITIVE", third, [])
    with pytest.raises(ContractError, match="use one of NONE, BACKWARD"):
        breaks("SIDEWAYS", third, earlier)


def test_a_level_covers_what_it_promises_and_no_more() -> None:
    assert all(covers("FULL_TRANSITIVE", level) for level in LEVELS)
    assert all(covers(level, "NONE") for level in LEVELS)
    assert covers("FULL", "BACKWARD")
    assert not covers("FULL", "BACKWARD_TRANSITIVE")
    assert not covers("BACKWARD_TRANSITIVE", "FULL")
    assert not covers("of another registry", "FULL")


@pytest.mark.parametrize("name", ["ohlcv", "trade", "quote"])
def test_shipped_contracts_read_themselves_and_gain_fields_with_defaults(name: str) -> None:
    old = load_contract(name).schema
    new = copy.deepcopy(old)
    new["fields"].append({"name": "venue", "type": "string", "default": ""})
    assert not breaks("FULL_TRANSITIVE", new, [(1, old)])
    del new["fields"][-1]["default"]
    (broken,) = breaks("FULL_TRANSITIVE", new, [(1, old)])
    assert str(broken) == (
        "field venue (cannot read rows of version 1): was nothing, is string, no default: rows lack it, so it needs a "
        "default, or an alias if it was renamed"
    )


def test_types_that_nest_in_themselves_are_compared_to_an_end() -> None:
    tree = record({"name": "next", "type": ["null", "Bar"]}, {"name": "n", "type": "int"})
    wider = record({"name": "next", "type": ["null", "Bar"]}, {"name": "n", "type": "long"})
    assert not cannot_read(wider, tree)
    assert cannot_read(tree, wider)


def test_a_type_that_is_nowhere_defined_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="the type Money is not defined"):
        cannot_read(record({"name": "x", "type": "Money"}), record({"name": "x", "type": "Money"}))


def test_a_change_of_meaning_is_noticed_although_every_registry_lets_it_pass() -> None:
    def bar(logical: str, **more: Any) -> dict[str, Any]:
        return record({"name": "at", "type": {"type": "long", "logicalType": logical}, **more})

    assert not breaks("FULL", bar("timestamp-micros"), [(1, bar("timestamp-millis"))])
    (found,) = changed_meaning(bar("timestamp-millis"), bar("timestamp-micros"))
    assert found.startswith("field at: logicalType was timestamp-millis and is timestamp-micros")
    assert changed_meaning(bar("timestamp-millis", timezone="UTC"), bar("timestamp-millis", timezone="Asia/Seoul"))
    assert not changed_meaning(bar("timestamp-millis"), bar("timestamp-millis", timezone="UTC"))
    assert not changed_meaning(bar("timestamp-millis"), bar("timestamp-millis", doc="when"))
