"""Whether rows written with one Avro schema can be read with another, with the exact fields that stand in the way.

The rules are those of the Avro 1.12 specification, section "Schema Resolution", in the reading of Avro's own
`SchemaCompatibility`, which registries use: the namespace of a name does not count, and of a union every branch that
may have been written must find one that reads it. Avro's checker tells neither the field nor both sides; this one does,
and tests hold it to the same answers as Avro's, a real registry's, and a reader that reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from schemas.avro import AvroSchema
from schemas.errors import ContractError

__all__ = ["LEVELS", "Break", "Incompatibility", "Level", "breaks", "cannot_read", "changed_meaning", "covers"]

Level = Literal["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"]
LEVELS: tuple[Level, ...] = get_args(Level)

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
# What a value written as the one may be read as.
_PROMOTIONS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
_MEANINGS = ("timezone",)


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One thing that keeps a reader from reading.

    Attributes:
        field: the path of the field, such as `close` or `levels[].price`; empty for the record itself.
        why: `missing_default`, `type`, `enum_symbols`, `name` or `size`.
        writer, reader: what the writer's schema has there and what the reader's expects, in words.
        remedy: what to do about it.
    """

    field: str
    why: Literal["missing_default", "type", "enum_symbols", "name", "size"]
    writer: str
    reader: str
    remedy: str

    def __str__(self) -> str:
        where = f"field {self.field}" if self.field else "the record"
        return f"{where}: written as {self.writer}, read as {self.reader}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Break:
    """An incompatibility between a new schema and an earlier version of it.

    Attributes:
        version: of the earlier schema.
        direction: `backward` where the new schema cannot read old rows, `forward` where the old one cannot read new.
    """

    version: int
    direction: Literal["backward", "forward"]
    what: Incompatibility

    @property
    def old(self) -> str:
        """What the earlier version has there."""
        return self.what.writer if self.direction == "backward" else self.what.reader

    @property
    def new(self) -> str:
        """What the new schema has there."""
        return self.what.reader if self.direction == "backward" else self.what.writer

    def __str__(self) -> str:
        where = f"field {self.what.field}" if self.what.field else "the record"
        who = "cannot read rows of" if self.direction == "backward" else "cannot be read with"
        return f"{where} ({who} version {self.version}): was {self.old}, is {self.new}: {self.what.remedy}"


def covers(actual: str, required: str) -> bool:
    """Return whether a level promises at least what another one does."""
    if required == "NONE":
        return True
    if actual not in LEVELS or required not in LEVELS:
        return False
    return _directions(required) <= _directions(actual) and (_transitive(actual) or not _transitive(required))


def breaks(level: str, new: AvroSchema, earlier: Sequence[tuple[int, AvroSchema]]) -> list[Break]:
    """Return what breaks a level between a schema and the versions before it, oldest first.

    Args:
        level: one of LEVELS; one that is not transitive looks at the last version alone.
        earlier: (version, schema) in rising order.

    Raises:
        ContractError: if the level is unknown, or a schema names a type that it does not define.
    """
    if level not in LEVELS:
        raise ContractError(f"compatibility {level!r} is unknown: use one of {', '.join(LEVELS)}")
    found = []
    for version, old in earlier if _transitive(level) else earlier[-1:]:
        if "backward" in _directions(level):
            found += [Break(version, "backward", what) for what in cannot_read(new, old)]
        if "forward" in _directions(level):
            found += [Break(version, "forward", what) for what in cannot_read(old, new)]
    return found


def cannot_read(reader: AvroSchema, writer: AvroSchema) -> list[Incompatibility]:
    """Return what keeps rows written with `writer` from being read with `reader`; empty if nothing does.

    Raises:
        ContractError: if a schema names a type that it does not define.
    """
    return _Resolution(reader, writer).problems()


def changed_meaning(old: AvroSchema, new: AvroSchema) -> list[str]:
    """Return which fields keep their name and would be read as something else, which no registry notices.

    A time in milliseconds that becomes one in microseconds is still a long, and a local time of New York is still text.
    """
    before = {f["name"]: f for f in old.get("fields", ()) if isinstance(f, dict)}
    found = []
    for field in new.get("fields", ()):
        was = before.get(field["name"])
        if was is None:
            continue
        pairs = [("logicalType", _logical(was["type"]), _logical(field["type"]))]
        pairs += [(name, was.get(name), field.get(name)) for name in _MEANINGS]
        found += [
            f"field {field['name']}: {name} was {one or 'none'} and is {other or 'none'}: old values would mean "
            "something else; give the new meaning a new field"
            for name, one, other in pairs
            if one != other and (name == "logicalType" or one is not None)
        ]
    return found


def _directions(level: str) -> frozenset[str]:
    both = {"BACKWARD": {"backward"}, "FORWARD": {"forward"}, "FULL": {"backward", "forward"}}
    return frozenset(both.get(level.removesuffix("_TRANSITIVE"), set()))


def _transitive(level: str) -> bool:
    return level.endswith("_TRANSITIVE")


class _Resolution:
    """One comparison; a pair of named types that is being compared already is taken to fit, as types may nest."""

    def __init__(self, reader: AvroSchema, writer: AvroSchema) -> None:
        self._schemas = reader, writer
        self._named = _named_types(reader), _named_types(writer)
        self._under_way: set[tuple[int, int]] = set()

    def problems(self) -> list[Incompatibility]:
        return self._compare(*self._schemas, "")

    def _compare(self, reader: Any, writer: Any, path: str) -> list[Incompatibility]:
        reader, writer = _resolve(reader, self._named[0]), _resolve(writer, self._named[1])
        if isinstance(writer, list):
            return [p for branch in writer for p in self._compare(reader, branch, path)]
        if isinstance(reader, list):
            if any(not self._compare(branch, writer, path) for branch in reader):
                return []
            return [_mismatch(path, reader, writer)]
        kinds = _kind(reader), _kind(writer)
        if kinds[0] != kinds[1]:
            return [] if kinds[0] in _PROMOTIONS.get(kinds[1], ()) else [_mismatch(path, reader, writer)]
        if kinds[0] in _PRIMITIVES:
            return []
        if kinds[0] == "array":
            return self._compare(reader["items"], writer["items"], f"{path}[]")
        if kinds[0] == "map":
            return self._compare(reader["values"], writer["values"], f"{path}{{}}")
        return self._named_pair(reader, writer, path)

    def _named_pair(self, reader: Any, writer: Any, path: str) -> list[Incompatibility]:
        pair = id(reader), id(writer)
        if pair in self._under_way:
            return []
        self._under_way.add(pair)
        try:
            return [*_names(reader, writer, path), *self._insides(reader, writer, path)]
        finally:
            self._under_way.discard(pair)

    def _insides(self, reader: Any, writer: Any, path: str) -> list[Incompatibility]:
        if reader["type"] == "enum":
            lost = [s for s in writer["symbols"] if s not in reader["symbols"]]
            if not lost or reader.get("default") in reader["symbols"]:
                return []
            remedy = f"the reader's enum lacks {', '.join(lost)}; give it a default, or keep the symbols"
            return [Incompatibility(path, "enum_symbols", _words(writer), _words(reader), remedy)]
        if reader["type"] == "fixed":
            if reader["size"] == writer["size"]:
                return []
            return [Incompatibility(path, "size", _words(writer), _words(reader), "keep the size, or use a new field")]
        written = {field["name"]: field for field in writer["fields"]}
        found: list[Incompatibility] = []
        for field in reader["fields"]:
            inner = f"{path}.{field['name']}" if path else field["name"]
            source = next((written[n] for n in (field["name"], *field.get("aliases", ())) if n in written), None)
            if source is not None:
                found += self._compare(field["type"], source["type"], inner)
            elif "default" not in field:
                remedy = "rows lack it, so it needs a default, or an alias if it was renamed"
                found.append(
                    Incompatibility(inner, "missing_default", "nothing", f"{_words(field['type'])}, no default", remedy)
                )
        return found


def _names(reader: Any, writer: Any, path: str) -> list[Incompatibility]:
    """Compare the names of two types without namespaces, as Avro does; a reader's alias is a full name."""
    names = _short(reader["name"]), _short(writer["name"])
    aliases = {_short(alias) for alias in reader.get("aliases", ())}
    if names[0] == names[1] or names[1] in aliases:
        return []
    remedy = f"keep the name, or give the reader the alias {writer['name']}"
    return [Incompatibility(path, "name", f"{writer['type']} {names[1]}", f"{reader['type']} {names[0]}", remedy)]


def _mismatch(path: str, reader: Any, writer: Any) -> Incompatibility:
    remedy = "keep the type, widen it as Avro promotes (int, long, float, double), or use a new field"
    return Incompatibility(path, "type", _words(writer), _words(reader), remedy)


def _named_types(schema: Any) -> dict[str, Any]:
    """Return all named types that a schema defines, under full and short names."""
    found: dict[str, Any] = {}

    def look(node: Any, space: str) -> None:
        if isinstance(node, list):
            for branch in node:
                look(branch, space)
        elif isinstance(node, dict):
            if node.get("type") in {"record", "error", "enum", "fixed"}:
                name = str(node.get("name", ""))
                space = name.rpartition(".")[0] if "." in name else node.get("namespace", space)
                found[f"{space}.{_short(name)}" if space else name] = node
                found.setdefault(_short(name), node)
            for inner in (node.get("items"), node.get("values"), *(f["type"] for f in _fields(node))):
                look(inner, space)
            if isinstance(node.get("type"), dict | list):
                look(node["type"], space)

    look(schema, "")
    return found


def _fields(node: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    fields = node.get("fields", ())
    return [f for f in fields if isinstance(f, dict) and "type" in f] if isinstance(fields, list) else ()


def _resolve(schema: Any, named: Mapping[str, Any]) -> Any:
    """Return what a schema stands for: a name's definition, what `{"type": ...}` wraps, else itself."""
    while isinstance(schema, dict) and isinstance(schema.get("type"), dict | list):
        schema = schema["type"]
    if isinstance(schema, dict) and isinstance(schema["type"], str) and schema["type"] in named:
        return named[schema["type"]]
    if isinstance(schema, str) and schema not in _PRIMITIVES:
        found = named.get(schema) or named.get(_short(schema))
        if found is None:
            raise ContractError(f"the type {schema} is not defined: write it out, or register it as a reference")
        return found
    return schema


def _kind(schema: Any) -> str:
    kind = schema["type"] if isinstance(schema, dict) else schema
    return "record" if kind == "error" else str(kind)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _logical(kind: Any) -> str | None:
    if isinstance(kind, list):
        return next((found for branch in kind if (found := _logical(branch)) is not None), None)
    if not isinstance(kind, dict):
        return None
    return str(kind["logicalType"]) if "logicalType" in kind else _logical(kind["type"])


def _words(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(_words(branch) for branch in schema)
    if not isinstance(schema, dict):
        return str(schema)
    if schema["type"] == "enum":
        return f"enum {_short(schema['name'])} of {', '.join(schema['symbols'])}"
    if schema["type"] == "fixed":
        return f"fixed {_short(schema['name'])} of {schema['size']} bytes"
    if schema["type"] in {"record", "error"}:
        return f"record {_short(schema['name'])}"
    if schema["type"] == "array":
        return f"array of {_words(schema['items'])}"
    if schema["type"] == "map":
        return f"map of {_words(schema['values'])}"
    logical = f" ({schema['logicalType']})" if "logicalType" in schema else ""
    return _words(schema["type"]) + logical
