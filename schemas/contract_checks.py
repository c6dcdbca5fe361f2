"""What makes a record schema a contract: the attributes it may have, and every reason to refuse it.

Each function raises `ContractError`, naming the field or rule and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import fastavro

from schemas.avro import AvroField, AvroRecord
from schemas.errors import ContractError
from schemas.findings import FIRST_RULE_BIT, LAST_RULE_BIT, STANDARD, Finding, Severity

__all__ = [
    "ROLES",
    "TIME_UNITS",
    "RecordRule",
    "check_avro",
    "check_bounds",
    "check_role_types",
    "only_field",
    "read_identity",
    "read_rules",
    "read_severities",
    "refuse_unknown",
]

ROLES: Mapping[str, str] = {
    "key": "the symbol: record key, unit of order and of state",
    "event_time": "when it happened, at the contract's resolution, UTC",
    "price": "a price; exclusiveMin 0 is reported as non_positive_price",
    "size": "a quantity; min 0 is reported as negative_size",
    "id": "an identifier given by the venue",
    "sequence": "a number that orders rows of one moment",
    "side": "the side of a trade",
    "flags": "findings, one bit each, written by the normalizer",
    "attribute": "anything else",
}
TIME_UNITS: Mapping[str, int] = {
    "timestamp-millis": 1_000,
    "timestamp-micros": 1_000_000,
    "timestamp-nanos": 1_000_000_000,
}
_FIELD_ATTRIBUTES = frozenset({"role", "unit", "finite", "min", "exclusiveMin", "max", "exclusiveMax"})
_RECORD_ATTRIBUTES = frozenset({"identity", "rules", "severities"})
_BOUNDS = ("min", "exclusiveMin", "max", "exclusiveMax")
_NUMBERS = frozenset({"int", "long", "float", "double"})


@dataclass(frozen=True, slots=True)
class RecordRule:
    """A condition over a whole row: `sql` is true for a good one."""

    name: str
    sql: str
    finding: Finding


def check_avro(record: AvroRecord) -> None:
    """Refuse what is no Avro, such as a default that is not of its field's type."""
    try:
        fastavro.parse_schema(record.schema)
    except Exception as error:
        # fastavro raises what it comes across: its own exceptions, KeyError, TypeError.
        raise ContractError(f"record {record.name} is not a valid Avro schema: {error}") from error


def refuse_unknown(record: AvroRecord) -> None:
    """Refuse attributes, roles and types that a contract does not have."""
    for name in record.attributes:
        if name not in _RECORD_ATTRIBUTES:
            known = ", ".join(sorted(_RECORD_ATTRIBUTES))
            raise ContractError(f"record attribute {name!r} is unknown: a contract may have {known}")
    for field in record.fields.values():
        for name in field.attributes:
            if name not in _FIELD_ATTRIBUTES:
                known = ", ".join(sorted(_FIELD_ATTRIBUTES))
                raise ContractError(f"field {field.name}: attribute {name!r} is unknown: a field may have {known}")
        role = field.attributes.get("role", "attribute")
        if not isinstance(role, str) or role not in ROLES:
            raise ContractError(f"field {field.name}: role {role!r} is unknown: use one of {', '.join(ROLES)}")
        if field.type in {"bytes", "fixed", "complex"}:
            raise ContractError(
                f"field {field.name}: a contract's fields are boolean, int, long, float, double, string or enum, "
                "each possibly nullable: flatten the record, or store the value as text"
            )


def only_field(record: AvroRecord, role: str) -> str:
    """Return the name of the one field with a role."""
    names = [f.name for f in record.fields.values() if f.attributes.get("role") == role]
    if len(names) != 1:
        found = f"{', '.join(names)} have it" if names else "none has it"
        raise ContractError(f'exactly one field must have "role": "{role}"; {found}')
    return names[0]


def check_role_types(record: AvroRecord, key: str, event_time: str, flags: str) -> None:
    """Refuse a key, event time or flags of a type that they cannot have."""
    fields = record.fields
    if fields[key].type != "string" or fields[key].nullable:
        raise ContractError(f"field {key}: the key must be a string that is not nullable")
    time_field = fields[event_time]
    if time_field.type != "long" or time_field.nullable or time_field.logical not in TIME_UNITS:
        raise ContractError(
            f"field {event_time}: the event time must be a long with logicalType {', '.join(TIME_UNITS)}"
        )
    if fields[flags].type != "long" or fields[flags].nullable or fields[flags].default != 0:
        raise ContractError(f"field {flags}: the flags must be a long with default 0")


def check_bounds(field: AvroField) -> None:
    """Refuse rules of a field that make no sense for its type, or together."""
    attributes = field.attributes
    given = [b for b in _BOUNDS if b in attributes]
    if (given or "finite" in attributes) and field.type not in _NUMBERS:
        rule = given[0] if given else "finite"
        raise ContractError(f"field {field.name}: rule {rule!r} needs a number, but the type is {field.type}")
    if not isinstance(attributes.get("finite", True), bool):
        raise ContractError(f"field {field.name}: finite must be true or false")
    for bound in given:
        if isinstance(attributes[bound], bool) or not isinstance(attributes[bound], int | float):
            raise ContractError(f"field {field.name}: {bound} must be a number, not {attributes[bound]!r}")
    for pair in (("min", "exclusiveMin"), ("max", "exclusiveMax")):
        if all(b in attributes for b in pair):
            raise ContractError(f"field {field.name}: give {pair[0]} or {pair[1]}, not both")


def read_identity(record: AvroRecord, key: str, flags: str) -> tuple[str, ...]:
    """Return the names of the fields that identify a row."""
    identity = record.attributes.get("identity")
    if not isinstance(identity, list) or not identity:
        raise ContractError('the record needs "identity": the list of fields that identify a row')
    for name in identity:
        if name not in record.fields:
            raise ContractError(f"identity names the field {name!r}, which the record does not have")
    if key not in identity:
        raise ContractError(f"identity must hold the key, {key!r}: rows of two symbols are never the same row")
    if flags in identity:
        raise ContractError(f"identity must not hold {flags!r}: flags are written by the normalizer")
    return tuple(identity)


def read_severities(record: AvroRecord) -> dict[str, Finding]:
    """Return the standard findings at the severities that the contract gives them."""
    findings = dict(STANDARD)
    chosen = record.attributes.get("severities", {})
    if not isinstance(chosen, dict):
        raise ContractError('"severities" must be an object: {"late": "violation", ...}')
    for name, level in chosen.items():
        if name not in findings:
            raise ContractError(f"severities names {name!r}, which is no finding: use one of {', '.join(findings)}")
        if not findings[name].adjustable:
            raise ContractError(f"severities: the severity of {name!r} is fixed at {findings[name].severity}")
        findings[name] = replace(findings[name], severity=_severity(f"severities.{name}", level))
    return findings


def _severity(where: str, level: Any) -> Severity:
    try:
        return Severity(level)
    except ValueError:
        raise ContractError(f"{where}: severity {level!r} must be warning or violation") from None


def read_rules(record: AvroRecord, taken: Mapping[str, Finding]) -> tuple[RecordRule, ...]:
    """Return the record rules; their names are not among the findings that are taken."""
    declared = record.attributes.get("rules", [])
    if not isinstance(declared, list):
        raise ContractError('"rules" must be a list of {"name", "sql", "bit", "severity", "doc"}')
    rules: list[RecordRule] = []
    for entry in declared:
        rule = _rule(entry)
        if rule.name in taken or rule.name in {r.name for r in rules}:
            raise ContractError(f"rule {rule.name}: the name is taken by another finding")
        if rule.finding.bit in {r.finding.bit for r in rules}:
            raise ContractError(f"rule {rule.name}: bit {rule.finding.bit} is taken by another rule")
        rules.append(rule)
    return tuple(rules)


def _rule(entry: Any) -> RecordRule:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ContractError('every rule needs a "name"')
    name = entry["name"]
    unknown = set(entry) - {"name", "sql", "bit", "severity", "doc"}
    if unknown:
        raise ContractError(f"rule {name}: {', '.join(sorted(unknown))} is unknown: use sql, bit, severity, doc")
    if not isinstance(entry.get("sql"), str):
        raise ContractError(f'rule {name}: "sql" must be a boolean expression over the columns')
    bit = entry.get("bit")
    if isinstance(bit, bool) or not isinstance(bit, int) or not FIRST_RULE_BIT <= bit <= LAST_RULE_BIT:
        raise ContractError(f'rule {name}: "bit" must be a number from {FIRST_RULE_BIT} to {LAST_RULE_BIT}')
    severity = _severity(f"rule {name}", entry.get("severity", "violation"))
    return RecordRule(name, entry["sql"], Finding(name, bit, severity, entry.get("doc", "")))
