"""What is wrong with the settings, in words: the full name, where it came from, and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from streams.settings_kafka import is_secret_property

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from streams.settings_sources import Values

__all__ = ["Problem", "dotted", "from_validation", "known_names", "report"]

Path = tuple[str, ...]

_UNQUOTED = "no such setting. If it is part of the dataset's name, put the whole name in quotes in the file"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at which setting, given by which source, and what to do."""

    where: Path
    origin: str | None
    says: str

    def __str__(self) -> str:
        given = f" (from {self.origin})" if self.origin else ""
        return f"{dotted(self.where)}{given}: {self.says}"


def dotted(where: Path) -> str:
    """Return a setting's full name, `seamless.conformance.mode`; names with dots of their own are quoted."""
    parts = (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in where)
    return ".".join(("seamless", *parts))


def report(problems: list[Problem]) -> str:
    """Return one message for all problems."""
    if len(problems) == 1:
        return f"The settings are refused. {problems[0]}"
    lines = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(problems, 1))
    return f"The settings are refused for {len(problems)} reasons:{lines}"


def from_validation(error: ValidationError, model: type[BaseModel], values: Values) -> list[Problem]:
    """Return a problem for each of pydantic's complaints; values of secrets never appear in them."""
    problems = [_problem(details, model, values) for details in error.errors(include_url=False)]
    return list(dict.fromkeys(problems))


def known_names(model: type[BaseModel], above: Path = ()) -> Iterator[Path]:
    """Yield the path of every setting of a model; those of a dataset, preset or consumer under `<dataset>`, ..."""
    for name, info in model.model_fields.items():
        inner = _model_in(info.annotation)
        if inner is None:
            yield (*above, name)
        else:
            blank = () if inner is info.annotation else (f"<{name.removesuffix('s')}>",)
            yield from known_names(inner, (*above, name, *blank))


def _problem(details: ErrorDetails, model: type[BaseModel], values: Values) -> Problem:
    where = _where(details["loc"])
    origin = _origin(where, values)
    if details["type"] == "extra_forbidden":
        if "datasets" in where[:-1] and isinstance(details["input"], dict):
            return Problem(where, origin, _UNQUOTED)
        return Problem(where, origin, f"no such setting. {_suggestion(where, origin, model)}")
    if details["type"] == "missing":
        return Problem(where, origin, f"is needed and not set. Add it to {dotted(where[:-1])}")
    if where[:2] == ("kafka", "client") and details["type"].endswith("_type"):
        return Problem(where, origin, "is neither text, nor a number, nor true or false")
    if details["type"] in ("model_type", "dict_type"):
        return Problem(where, origin, f"is a table, not a value. Set the names in it, as in {dotted(where)}.<name>")
    message = details["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    is_key = bool(details["loc"]) and details["loc"][-1] == "[key]"
    if is_key or not _may_show(where):
        return Problem(where, origin, message)
    value = details["input"]
    shown = f"{value!r}: " if isinstance(value, str | int | float) and "://" not in str(value) else ""
    return Problem(where, origin, shown + message)


def _where(location: tuple[int | str, ...]) -> Path:
    parts = tuple(str(part) for part in location if part != "[key]")
    # the last name of a client property is followed by the member of the union that was tried
    return parts[:3] if parts[:2] == ("kafka", "client") else parts


def _may_show(where: Path) -> bool:
    return (
        where[:2] not in {("kafka", "client"), ("archive", "storage")}
        and not is_secret_property(where[-1])
        and "token" not in where[-1]
    )


def _origin(where: Path, values: Values) -> str | None:
    """Return what gave the value at `where`, or values below it; None if nothing did."""
    names = {origin.name for path, (_, origin) in values.items() if path[: len(where)] == where}
    return ", ".join(sorted(names)) or None


def _suggestion(where: Path, origin: str | None, model: type[BaseModel]) -> str:
    known = [_filled(path, where) for path in known_names(model)]
    if where[0] == "datasets" and len(where) > 2:
        known = [path for path in known if path[:2] == where[:2]]
    closest = _closest(where, known)
    if closest is None:
        return "Remove it; `seamless config show` lists all settings"
    of_environment = origin is not None and origin.startswith("SEAMLESS_")
    meant = "SEAMLESS_" + "__".join(closest).upper() if of_environment else dotted(closest)
    return f"Did you mean {meant}? Rename or remove it"


def _filled(known: Path, where: Path) -> Path:
    """Return a known path with the names that `where` has in place of the blanks, as far as the two go together."""
    filled: Path = ()
    for blank, name in zip(known, where, strict=False):
        if not blank.startswith("<") or filled != where[: len(filled)]:
            name = blank
        filled = (*filled, name)
    return (*filled, *known[len(filled) :])


def _closest(where: Path, known: list[Path]) -> Path | None:
    """Return the known setting most like `where`: among those beside it, by full name, or by last name."""
    depth = len(where) - 1
    beside = {path[depth]: path[: depth + 1] for path in known if len(path) > depth and path[:depth] == where[:-1]}
    full = {".".join(path): path for path in known}
    last = {path[-1]: path for path in known}
    for word, names in ((where[-1], beside), (".".join(where), full), (where[-1], last)):
        match = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
        if match:
            return names[match[0]]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := _model_in(part)) is not None), None)
