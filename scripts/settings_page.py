"""Write docs/settings.md from the settings' own descriptions: `python scripts/settings_page.py`."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from streams.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """\
# Settings

Read once at the start, strongest first: options of the command, environment, `seamless.toml` (in the working directory,
or where `SEAMLESS_CONFIG` or `--config` say), the running embedded stack, defaults. Unknown keys and bad values are
refused with their names. `seamless config show` prints what is in effect and where each value came from;
`seamless config check` only checks. In the environment a key is written in capitals with `__` between its parts:
`seamless.kafka.bootstrap_servers` is `SEAMLESS_KAFKA__BOOTSTRAP_SERVERS`.

This page is made by `scripts/settings_page.py`; a test holds it to the code.
"""


def page() -> str:
    """Return the page."""
    lines = [HEAD]
    sections = {name: model for name, info in Settings.model_fields.items() if (model := _model(info.annotation))}
    lines += _table("seamless", {n: i for n, i in Settings.model_fields.items() if n not in sections})
    for name, model in sections.items():
        title = f"seamless.{name}" + (".<name>" if name == "datasets" else "")
        lines += _table(title, model.model_fields)
    return "\n".join(lines)


def _table(title: str, fields: dict[str, FieldInfo]) -> list[str]:
    rows = [f"## {title}", "", "| key | type | default | what it does |", "|---|---|---|---|"]
    for name, info in fields.items():
        rows.append(f"| `{name}` | {_type(info.annotation)} | {_default(info)} | {info.description or ''} |")
    return [*rows, ""]


def _model(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is dict:
        annotation = get_args(annotation)[1]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return " or ".join(_type(a) for a in get_args(annotation) if a is not type(None))
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in get_args(annotation))
    if origin is dict:
        return "table"
    if origin is tuple:
        return f"list of {_type(get_args(annotation)[0])}"
    names = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", SecretStr: "secret"}
    return names.get(annotation, "URL")


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "required" if info.default_factory is None else "empty"
    return "unset" if info.default is None else f"`{info.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
