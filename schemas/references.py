"""Schemas that refer to types of other subjects, made whole: Avro's readers and our contracts know one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.avro import AvroSchema

__all__ = ["inlined"]

_NAMED = frozenset({"record", "error", "enum", "fixed"})
_BUILT_IN = _NAMED | {"array", "map"}


def inlined(schema: AvroSchema, types: Mapping[str, AvroSchema]) -> AvroSchema:
    """Return a schema with each referred type written out where its name is first used, and by name after that.

    Args:
        types: what the references stand for, by the full name that the schema uses.
    """
    defined: set[str] = set()
    whole: AvroSchema = _walk(schema, types, defined, "")
    return whole


def _walk(node: Any, types: Mapping[str, AvroSchema], defined: set[str], space: str) -> Any:
    if isinstance(node, list):
        return [_walk(branch, types, defined, space) for branch in node]
    if isinstance(node, str):
        name = node if node in types else f"{space}.{node}"
        if name not in types or name in defined:
            return node
        return _walk(types[name], types, defined, "")
    if not isinstance(node, dict):
        return node
    if node.get("type") in _NAMED:
        name = str(node.get("name", ""))
        space = name.rpartition(".")[0] if "." in name else str(node.get("namespace", space))
        full = name if "." in name or not space else f"{space}.{name}"
        if full in defined:  # a type that two of the referred schemas define alike
            return full
        defined.add(full)
    made = dict(node)
    for key in ("items", "values", "type"):
        if key in made and not (key == "type" and isinstance(made[key], str) and made[key] in _BUILT_IN):
            made[key] = _walk(made[key], types, defined, space)
    if isinstance(made.get("fields"), list):
        made["fields"] = [
            {**f, "type": _walk(f["type"], types, defined, space)} if isinstance(f, dict) and "type" in f else f
            for f in made["fields"]
        ]
    return made
