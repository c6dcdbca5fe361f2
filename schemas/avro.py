"""Avro record schemas as conformance sees them: records whose fields are columns.

A contract's fields are primitives and enums, possibly nullable. A raw schema may have bytes, fixed and decimals
too; anything else Avro allows is decoded by the reference codec, and left out of the columns. Types and promotions
follow the Avro 1.12 specification, sections "Schema Declaration" and "Schema Resolution".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import ContractError

__all__ = ["AvroField", "AvroRecord", "AvroSchema", "canonical_json", "parse_record", "strip_logical"]

AvroSchema = dict[str, Any]

PRIMITIVES = frozenset({"boolean", "int", "long", "float", "double", "string"})
BINARY = frozenset({"bytes", "fixed"})
STANDARD_FIELD_KEYS = frozenset({"name", "type", "doc", "default", "aliases", "order"})

MAX_PRECISION = 38
_MISSING = object()


@dataclass(frozen=True, slots=True)
class AvroField:
    """One field of a record.

    Attributes:
        type: the primitive's name, `enum`, `bytes`, `fixed`, or `complex` for anything a column cannot hold.
        nullable: whether the type is a union of `null` and one other type.
        null_first: whether that union begins with `null` (the branch numbers differ).
        logical: the logical type's name, if any.
        precision, scale: of a decimal, otherwise zero.
        symbols: an enum's symbols, otherwise empty.
        attributes: the field's custom attributes.
    """

    name: str
    type: str
    nullable: bool = False
    null_first: bool = True
    logical: str | None = None
    precision: int = 0
    scale: int = 0
    symbols: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    doc: str = ""
    default: Any = field(default=_MISSING)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_default(self) -> bool:
        """Whether the schema gives a default value."""
        return self.default is not _MISSING


@dataclass(frozen=True, slots=True)
class AvroRecord:
    """A record schema: its full name, fields by name, and its custom attributes."""

    name: str
    fields: Mapping[str, AvroField]
    attributes: Mapping[str, Any]
    schema: AvroSchema

    @property
    def flat(self) -> bool:
        """Whether every field is a primitive or an enum, possibly nullable: what the columnar codec holds."""
        return all(f.type in PRIMITIVES or f.type == "enum" for f in self.fields.values())


def canonical_json(schema: Any) -> str:
    """Return the schema as JSON with fixed separators and its own key order, custom attributes included."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def parse_record(schema: Any) -> AvroRecord:
    """Read a record schema.

    Raises:
        ContractError: if it is not a record, or a field lacks a name or type, or two fields share a name.
    """
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ContractError('the schema is not an Avro record: it needs "type": "record" and a list of fields')
    name = schema.get("name")
    if not isinstance(name, str) or not name:
        raise ContractError('the schema has no name: add "name": "..." to the record')
    raw_fields = schema.get("fields")
    if not isinstance(raw_fields, list) or not raw_fields:
        raise ContractError(f'record {name}: "fields" must be a list with at least one field')
    fields: dict[str, AvroField] = {}
    for raw in raw_fields:
        parsed = _field(name, raw)
        if parsed.name in fields:
            raise ContractError(f"record {name}: two fields are named {parsed.name!r}")
        fields[parsed.name] = parsed
    namespace = schema.get("namespace")
    full = f"{namespace}.{name}" if namespace and "." not in name else name
    attributes = {k: v for k, v in schema.items() if k not in {"type", "name", "namespace", "doc", "aliases", "fields"}}
    return AvroRecord(full, fields, attributes, schema)


def strip_logical(schema: Any, keep: Set[str] = frozenset()) -> AvroSchema | Any:
    """Return a schema without logical types (but those to keep): then a time stays the integer that it is."""
    if isinstance(schema, list):
        return [strip_logical(s, keep) for s in schema]
    if isinstance(schema, dict):
        if "logicalType" in schema and schema["logicalType"] not in keep and isinstance(schema.get("type"), str):
            schema = {k: v for k, v in schema.items() if k != "logicalType"}
        return {
            k: strip_logical(v, keep) if k in {"type", "fields", "items", "values"} else v for k, v in schema.items()
        }
    return schema


def _field(record: str, raw: Any) -> AvroField:
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        raise ContractError(f'record {record}: every field needs a "name"')
    name = raw["name"]
    if "type" not in raw:
        raise ContractError(f'field {name}: "type" is missing')
    nullable, null_first, inner = _unwrap(raw["type"])
    logical, precision, scale, symbols = None, 0, 0, ()
    if isinstance(inner, dict):
        logical = inner.get("logicalType")
        precision, scale = inner.get("precision", 0), inner.get("scale", 0)
        if inner.get("type") == "enum":
            symbols = tuple(inner.get("symbols", ()))
        inner = inner.get("type")
    known = isinstance(inner, str) and inner in PRIMITIVES | BINARY | {"enum"}
    if inner in BINARY and logical == "decimal":
        known = _fits_decimal128(precision, scale)
    return AvroField(
        name=name,
        type=inner if known else "complex",
        nullable=nullable,
        null_first=null_first,
        logical=logical,
        precision=precision,
        scale=scale,
        symbols=symbols,
        aliases=tuple(raw.get("aliases", ())),
        doc=raw.get("doc", ""),
        default=raw.get("default", _MISSING),
        attributes={k: v for k, v in raw.items() if k not in STANDARD_FIELD_KEYS},
    )


def _fits_decimal128(precision: Any, scale: Any) -> bool:
    """Return whether a column can hold such decimals; Arrow's and polars' have at most 38 digits."""
    if not isinstance(precision, int) or not isinstance(scale, int):
        return False
    return 0 < precision <= MAX_PRECISION and 0 <= scale <= precision


def _unwrap(kind: Any) -> tuple[bool, bool, Any]:
    """Split a type into (nullable, null comes first, the other type)."""
    if not isinstance(kind, list):
        return False, True, kind
    others = [branch for branch in kind if branch != "null"]
    if len(kind) == 2 and len(others) == 1:
        return True, kind[0] == "null", others[0]
    return "null" in kind, True, None
