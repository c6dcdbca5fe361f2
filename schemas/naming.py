"""Names that a schema must not have: reserved ones, ones that differ in case alone, and ones that are not Avro's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.avro import AvroSchema

__all__ = ["RESERVED", "problems_of_names"]

# The archive adds columns that begin with an underscore, commands and headers use the other.
RESERVED = ("_", "seamless_")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def problems_of_names(schema: AvroSchema, *, contract: bool) -> Iterator[tuple[str, str]]:
    """Yield (field, what is wrong with its name) for the top-level fields; the field is empty for the record.

    Args:
        contract: whether it is one of ours, whose names are columns of the archive and operands of SQL: these are
            lower-case words joined by underscores. A vendor's names are the vendor's.
    """
    name = str(schema.get("name", ""))
    if not all(_NAME.fullmatch(part) for part in name.split(".")):
        yield "", f"the record's name {name!r} is no Avro name: letters, digits and underscores, not a digit first"
    seen: dict[str, str] = {}
    fields = schema.get("fields")
    for field in fields if isinstance(fields, list) else ():
        name = str(field.get("name", "")) if isinstance(field, dict) else ""
        if not _NAME.fullmatch(name):
            yield name, f"{name!r} is no Avro name: letters, digits and underscores, not a digit first"
            continue
        if name.lower().startswith(RESERVED):
            yield name, f"names that begin with {' or '.join(RESERVED)} are reserved: call it something else"
        elif contract and not _SNAKE.fullmatch(name):
            yield name, "a contract's names are lower-case words joined by underscores, as they are columns in SQL"
        twin = seen.setdefault(name.lower(), name)
        if twin != name:
            yield name, f"differs from {twin!r} in case alone, which SQL does not tell apart"
