"""A contract: an Avro record schema whose custom attributes say what conformance must hold.

Record attributes:
    identity: names of the fields that identify a row (the key first, by habit).
    rules: list of `{"name", "sql", "bit", "severity", "doc"}`; `sql` is a boolean expression over the
        record's columns that is true for a good row.
    severities: `{finding: "warning" | "violation"}` for standard findings that this contract judges otherwise.
Field attributes:
    role: one of `ROLES`. Exactly one `key` (string), one `event_time` (timestamp), one `flags` (long, default 0).
    unit: free text for readers.
    finite, min, exclusiveMin, max, exclusiveMax: rules on a number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.avro import AvroRecord, AvroSchema, canonical_json, parse_record
from schemas.contract_checks import (
    ROLES,
    TIME_UNITS,
    RecordRule,
    check_avro,
    check_bounds,
    check_role_types,
    only_field,
    read_identity,
    read_rules,
    read_severities,
    refuse_unknown,
)
from schemas.errors import ContractError
from schemas.findings import Finding, Severity

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ROLES", "TIME_UNITS", "Contract", "RecordRule", "contract_names", "load_contract", "read_avsc"]


@dataclass(frozen=True)
class Contract:
    """A validated contract; build it with `Contract.parse`.

    Attributes:
        record: the Avro record.
        key, event_time, flags: names of the fields with these roles.
        time_units: event-time units per second (1_000, 1_000_000 or 1_000_000_000).
        identity: names of the fields that identify a row.
        rules: the record rules in declared order.
        findings: every finding this contract can make, by name, at its own severity.
    """

    record: AvroRecord
    key: str
    event_time: str
    flags: str
    time_units: int
    identity: tuple[str, ...]
    rules: tuple[RecordRule, ...]
    findings: Mapping[str, Finding]

    @classmethod
    def parse(cls, schema: AvroSchema) -> Contract:
        """Read and check a contract.

        Raises:
            ContractError: naming the field or rule and the reason.
        """
        record = parse_record(schema)
        refuse_unknown(record)
        check_avro(record)
        key, event_time, flags = (only_field(record, role) for role in ("key", "event_time", "flags"))
        check_role_types(record, key, event_time, flags)
        for field in record.fields.values():
            check_bounds(field)
        identity = read_identity(record, key, flags)
        findings = read_severities(record)
        rules = read_rules(record, findings)
        findings |= {rule.name: rule.finding for rule in rules}
        units = TIME_UNITS[record.fields[event_time].logical or ""]
        return cls(record, key, event_time, flags, units, identity, rules, findings)

    @property
    def name(self) -> str:
        """The record's full Avro name."""
        return self.record.name

    @property
    def schema(self) -> AvroSchema:
        """The Avro schema as written, attributes included."""
        return self.record.schema

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of the schema's JSON, attributes included."""
        return hashlib.sha256(canonical_json(self.schema).encode()).hexdigest()[:16]

    @cached_property
    def columns(self) -> pa.Schema:
        """The plain Arrow schema of the contract's columns."""
        # Not at the top, because polars takes long to import, and few who read a contract hold columns.
        from schemas.columns import arrow_schema

        return arrow_schema(self.record)

    @cached_property
    def content(self) -> tuple[str, ...]:
        """The fields whose values tell a duplicate from a revision: all but identity and flags."""
        return tuple(n for n in self.record.fields if n not in self.identity and n != self.flags)

    @cached_property
    def violation_mask(self) -> int:
        """The bits of all findings that are violations."""
        return sum(f.mask for f in self.findings.values() if f.severity is Severity.VIOLATION)

    def explain(self, flags: int) -> list[Finding]:
        """Return the findings that a row's `flags` hold, in the order of their bits."""
        return sorted((f for f in self.findings.values() if flags & f.mask), key=lambda f: f.bit)


def contract_names() -> list[str]:
    """Return the names of the contracts that Seamless ships."""
    folder = resources.files("schemas") / "contracts"
    return sorted(p.name.removesuffix(".avsc") for p in folder.iterdir() if p.name.endswith(".avsc"))


def load_contract(name_or_path: str) -> Contract:
    """Load a shipped contract by name (`ohlcv`) or any other by the path of its `.avsc` file.

    Raises:
        ContractError: if there is none, it is not JSON, or it is broken.
    """
    if name_or_path in contract_names():
        text = (resources.files("schemas") / "contracts" / f"{name_or_path}.avsc").read_text(encoding="utf-8")
        return Contract.parse(json.loads(text))
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(contract_names())
        raise ContractError(f"no contract {name_or_path!r}: use one of {known}, or the path of an .avsc file")
    return Contract.parse(read_avsc(path))


def read_avsc(path: Path) -> AvroSchema:
    """Read a schema file.

    Raises:
        ContractError: if the file cannot be read or is not a JSON object.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: not a readable Avro schema: {error}") from error
    if not isinstance(schema, dict):
        raise ContractError(f"{path}: an Avro record schema is a JSON object")
    return schema
