"""What differs between two record schemas, in words: fields, types, defaults, roles, rules, bits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from schemas.avro import AvroField, AvroRecord, AvroSchema, parse_record

__all__ = ["Change", "schema_diff"]

_NAMES = ("name", "namespace", "doc", "aliases")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: whether `what` is there in the second schema only, in the first only, or in both.
        where: the thing concerned: `field close`, `rule crossed_quote`, `the record`.
        what: the property of it that differs (`type`, `default`, `role`, `sql`, `bit`, ...); empty if the thing
            itself was added or removed.
        before, after: the property as words; empty where there is none.
    """

    kind: Literal["added", "removed", "changed"]
    where: str
    what: str = ""
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        if not self.what:
            detail = self.after or self.before
            return f"{self.where} {self.kind}" + (f": {detail}" if detail else "")
        if self.kind == "added":
            return f"{self.where}: {self.what} {self.after} added"
        if self.kind == "removed":
            return f"{self.where}: {self.what} {self.before} removed"
        return f"{self.where}: {self.what} changed from {self.before} to {self.after}"


def schema_diff(a: AvroSchema, b: AvroSchema) -> list[Change]:
    """Return what became different from `a` to `b`: the record, then its fields, then its rules.

    The list is empty if and only if the two are equal as JSON, whatever the order of their keys.

    Raises:
        ContractError: if one of them is no record schema.
    """
    one, other = parse_record(a), parse_record(b)
    changes = [*_record(one, other), *_fields(one, other), *_rules(one, other)]
    if not changes and _differ(a, b):
        changes.append(Change("changed", "the record", "notation", "the one", "the other"))
    return changes


def _record(one: AvroRecord, other: AvroRecord) -> Iterator[Change]:
    names = [{key: r.schema[key] for key in _NAMES if key in r.schema} for r in (one, other)]
    yield from _properties("the record", names[0], names[1])
    attributes = [{k: v for k, v in r.attributes.items() if k != "rules"} for r in (one, other)]
    yield from _properties("the record", attributes[0], attributes[1])
    common = [n for n in one.fields if n in other.fields]
    after = [n for n in other.fields if n in one.fields]
    if common != after:
        yield Change("changed", "the record", "order of fields", ", ".join(common), ", ".join(after))


def _fields(one: AvroRecord, other: AvroRecord) -> Iterator[Change]:
    raw = [{f["name"]: f for f in r.schema["fields"]} for r in (one, other)]
    for name, field in one.fields.items():
        if name not in other.fields:
            yield Change("removed", f"field {name}", before=_field_words(field))
        elif _differ(raw[0][name], raw[1][name]):
            yield from _field(field, other.fields[name], raw[0][name], raw[1][name])
    for name, field in other.fields.items():
        if name not in one.fields:
            yield Change("added", f"field {name}", after=_field_words(field))


def _field(one: AvroField, other: AvroField, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    where = f"field {one.name}"
    if _differ(before["type"], after["type"]):
        words = _type_words(one), _type_words(other)
        if words[0] == words[1]:  # such as the order of a union's branches: the same to readers, not on the wire
            words = _words(before["type"]), _words(after["type"])
        yield Change("changed", where, "type", *words)
    rest = [{k: v for k, v in raw.items() if k not in {"name", "type"}} for raw in (before, after)]
    yield from _properties(where, rest[0], rest[1])


def _rules(one: AvroRecord, other: AvroRecord) -> Iterator[Change]:
    declared = one.attributes.get("rules", []), other.attributes.get("rules", [])
    before, after = _by_name(declared[0]), _by_name(declared[1])
    if before is None or after is None:
        yield from _properties("the record", {"rules": declared[0]}, {"rules": declared[1]})
        return
    for name, rule in before.items():
        if name not in after:
            yield Change("removed", f"rule {name}", before=_rule_words(rule))
        else:
            yield from _properties(f"rule {name}", rule, after[name])
    for name, rule in after.items():
        if name not in before:
            yield Change("added", f"rule {name}", after=_rule_words(rule))
    common = [n for n in before if n in after]
    moved = [n for n in after if n in before]
    if common != moved:
        yield Change("changed", "the record", "order of rules", ", ".join(common), ", ".join(moved))


def _by_name(rules: Any) -> dict[str, dict[str, Any]] | None:
    """Return rules by name; None if they are no list of rules each with a name of its own, which may be told apart."""
    if not isinstance(rules, list) or not all(isinstance(r, dict) and isinstance(r.get("name"), str) for r in rules):
        return None
    named = {rule["name"]: rule for rule in rules}
    return named if len(named) == len(rules) else None


def _properties(where: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield Change("removed", where, name, before=_words(before[name]))
        elif name not in before:
            yield Change("added", where, name, after=_words(after[name]))
        elif _differ(before[name], after[name]):
            yield Change("changed", where, name, _words(before[name]), _words(after[name]))


def _differ(one: Any, other: Any) -> bool:
    # As JSON, because Python takes true for 1.
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def _field_words(field: AvroField) -> str:
    default = f", default {_words(field.default)}" if field.has_default else ""
    role = f", role {field.attributes['role']}" if "role" in field.attributes else ""
    return f"{_type_words(field)}{default}{role}"


def _type_words(field: AvroField) -> str:
    words = field.type
    if field.symbols:
        words += f" of {', '.join(field.symbols)}"
    if field.logical:
        size = f" {field.precision},{field.scale}" if field.precision else ""
        words += f" ({field.logical}{size})"
    return words + (", nullable" if field.nullable else "")


def _rule_words(rule: Mapping[str, Any]) -> str:
    return f"{rule.get('sql', '?')} (bit {rule.get('bit', '?')}, {rule.get('severity', 'violation')})"


def _words(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
