"""The names of the trading calendars, without paying for the calendars.

Importing exchange_calendars takes seconds (with pandas): too long for a command that reads settings only.
So the names are read from the tables in its source; should those tables move, the library itself is asked.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["calendar_names"]

_TABLES = {"_default_calendar_factories", "_default_calendar_aliases"}


@cache
def calendar_names() -> frozenset[str]:
    """Return every name, aliases included, that `exchange_calendars.get_calendar` takes."""
    found = find_spec("exchange_calendars")
    folders = (found.submodule_search_locations if found else None) or []
    for folder in folders:
        source = Path(folder, "calendar_utils.py")
        names = _names_in(source.read_text(encoding="utf-8")) if source.is_file() else frozenset()
        if names:
            return names
    return _names_of_library()


def _names_in(source: str) -> frozenset[str]:
    """Return the string keys of both tables, or nothing unless both are found as plain dictionaries."""
    tables: dict[str, set[str]] = {}
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id in _TABLES and isinstance(value, ast.Dict):
            keys = {key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            tables[target.id] = keys
    return frozenset().union(*tables.values()) if tables.keys() == _TABLES else frozenset()


def _names_of_library() -> frozenset[str]:
    import exchange_calendars

    return frozenset(exchange_calendars.get_calendar_names(include_aliases=True))
