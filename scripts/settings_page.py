"""Write docs/settings.md from the settings' own descriptions: `python scripts/settings_page.py`."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from streams.settings import Settings
from streams.sla_policy import SLAPolicy

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
        lines += _section(title, model)
    return "\n".join(lines)


def _section(title: str, model: type[BaseModel], *, defaults: bool = True) -> list[str]:
    """Return the table of a section, then those of the tables by name that it has.

    What a table of a policy leaves out is as others have it, and no default of its own.
    """
    lines = _table(title, model.model_fields, defaults)
    shown: tuple[str, type[BaseModel]] | None = None
    for name, info in model.model_fields.items():
        inner = _model(info.annotation)
        if inner is None:
            continue
        below = f"{title}.{name}.<name>"
        if shown is not None and issubclass(inner, shown[1]):
            own = {n: i for n, i in inner.model_fields.items() if n not in shown[1].model_fields}
            table = _table(below, own, defaults=False)
            lines += [*table[:2], f"As `{shown[0]}`, and:", "", *table[2:]]
        else:
            lines += _section(below, inner, defaults=not issubclass(inner, SLAPolicy))
            shown = below, inner
    return lines


def _table(title: str, fields: dict[str, FieldInfo], defaults: bool = True) -> list[str]:
    rows = [f"## {title}", "", "| key | type | default | what it does |", "|---|---|---|---|"]
    for name, info in fields.items():
        kind = _type(info.annotation)
        if any(isinstance(each, BeforeValidator) for each in info.metadata):
            kind += " or text"  # a span: seconds, or 500ms
        rows.append(f"| `{name}` | {kind} | {_default(info) if defaults else 'unset'} | {info.description or ''} |")
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
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    names = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", SecretStr: "secret"}
    return names.get(annotation, "URL")


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "required" if info.default_factory is None else "empty"
    return "unset" if info.default is None else f"`{info.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
