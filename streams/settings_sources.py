"""Where settings come from: command line, environment, file. Each gives values by path, with their origin."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streams.errors import SettingsError
from streams.settings_problems import Problem
from streams.sla_policy import PRESETS

__all__ = [
    "DEFAULT_FILE",
    "ENV_PREFIX",
    "Origin",
    "Values",
    "environment_values",
    "file_values",
    "is_setting",
    "nested",
    "override_values",
]

DEFAULT_FILE = Path("seamless.toml")
ENV_PREFIX = "SEAMLESS_"

_RESERVED = re.compile(r"SEAMLESS_(CONFIG|CACHE_DIR|STACK_[A-Z0-9_]+)")
# Kubernetes gives every pod such variables for each service; one called seamless-something must not stop us.
_KUBERNETES = re.compile(
    r"SEAMLESS_([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
)
_RELATIVE_PATHS = {
    ("registry", "ca_path"),
    ("registry", "cert_path"),
    ("registry", "key_path"),
    ("conformance", "exceptions"),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: the kind of source, and its name as a user knows it."""

    kind: Literal["flag", "env", "file", "stack"]
    name: str


Values = dict[tuple[str, ...], tuple[Any, Origin]]
"""Values by the path of their names, each with its origin; a table without entries is itself a value."""


def file_values(path: Path | None, env: Mapping[str, str]) -> Values:
    """Return the values of the file: `path`, else SEAMLESS_CONFIG, else ./seamless.toml if there is one.

    Paths in the file are relative to its folder. Raises SettingsError if a named file is missing or no TOML.
    """
    named = path or (Path(env["SEAMLESS_CONFIG"]) if env.get("SEAMLESS_CONFIG") else None)
    file = named or DEFAULT_FILE
    try:
        with file.open("rb") as opened:
            table = tomllib.load(opened)
    except FileNotFoundError:
        if named is None:
            return {}
        raise SettingsError(
            f"There is no settings file {file}. Create it, or leave out --config / SEAMLESS_CONFIG."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"The settings file {file} cannot be read: {error.strerror}. Check its permissions."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {file} is no valid TOML: {error}. Mend that line.") from None
    if table.keys() == {"seamless"} and isinstance(table["seamless"], dict):
        table = table["seamless"]
    origin = Origin("file", str(file))
    return {where: (_anchored(where, value, file.parent), origin) for where, value in _leaves(table)}


def environment_values(values: Values, env: Mapping[str, str]) -> list[Problem]:
    """Lay the SEAMLESS_ variables over `values`, in place; return those that name an unknown dataset.

    `SEAMLESS_KAFKA__BOOTSTRAP_SERVERS` is kafka.bootstrap_servers. In `SEAMLESS_KAFKA__CLIENT__SASL_PASSWORD`
    the underscores of the last name stand for the dots of the librdkafka property. In
    `SEAMLESS_DATASETS__OHLCV_US_1D__MODE` the dots and dashes of the dataset, which must be in the file, are
    written as underscores too; so are those of the names in `SEAMLESS_SLA__PRESETS__STRICT_BLOCKING__TOTAL_DEADLINE`.
    """
    datasets = {_as_variable(where[1]): where[1] for where in values if where[0] == "datasets" and len(where) > 1}
    problems = []
    for variable, text in sorted(env.items()):
        if not is_setting(variable, text):
            continue
        where = tuple(part.lower() for part in variable.removeprefix(ENV_PREFIX).split("__"))
        if where[:2] == ("kafka", "client") and len(where) > 2:
            where = ("kafka", "client", ".".join(where[2:]).replace("_", "."))
        elif where[0] == "datasets" and len(where) > 1:
            dataset = datasets.get(where[1])
            if dataset is None:
                problems.append(
                    Problem(where, variable, "no dataset of that name is in the settings file; add it there")
                )
                continue
            where = ("datasets", dataset, *where[2:])
        elif where[0] == "sla":
            where = _as_in_file(where, values, datasets)
        values[where] = (text, Origin("env", variable))
    return problems


def _as_in_file(where: tuple[str, ...], values: Values, datasets: Mapping[str, str]) -> tuple[str, ...]:
    """Return the path of a promise with the names of its dataset, consumer or preset as the file writes them."""
    found: tuple[str, ...] = ()
    for part in where:
        at = len(found)
        beside = {_as_variable(path[at]): path[at] for path in values if path[:at] == found and len(path) > at}
        names = {"datasets": datasets, "presets": {_as_variable(name): name for name in PRESETS}}
        known = {**names.get(found[-1] if found else "", {}), **beside}
        found = (*found, known.get(part, part))
    return found


def override_values(values: Values, overrides: Mapping[str, Any]) -> None:
    """Lay what the command line gave over `values`, in place; None means that a flag was not given."""
    for where, value in _leaves(overrides):
        if value is not None:
            values[where] = (value, Origin("flag", "the command line"))


def nested(values: Values) -> dict[str, Any]:
    """Return values as nested tables; a value that stands in the way of a table stays, to be refused."""
    root: dict[str, Any] = {}
    for where in sorted(values, key=len):
        table: Any = root
        for part in where[:-1]:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            value = values[where][0]
            table[where[-1]] = dict(value) if isinstance(value, dict) else value
    return root


def _leaves(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        where = (*above, str(name))
        if above == ("kafka", "client") and isinstance(value, Mapping):
            # sasl.password = "..." without quotes is a table in TOML; what the user meant is the property
            yield from ((("kafka", "client", ".".join(deep[2:])), leaf) for deep, leaf in _leaves(value, where))
        elif isinstance(value, Mapping) and value:
            yield from _leaves(value, where)
        else:
            yield where, value


def _anchored(where: tuple[str, ...], value: Any, folder: Path) -> Any:
    last = where[-1]
    is_path = (
        where in _RELATIVE_PATHS
        or (where == ("archive", "url") and "://" not in str(value))
        or (where[0] == "datasets" and (last == "raw_schema" or (last == "contract" and str(value).endswith(".avsc"))))
    )
    return str(folder / value) if is_path and isinstance(value, str) and value else value


def _as_variable(dataset: str) -> str:
    return re.sub(r"[.-]", "_", dataset)


def is_setting(variable: str, text: str) -> bool:
    """Return whether a variable of the environment is read as a setting."""
    if not variable.startswith(ENV_PREFIX) or _RESERVED.fullmatch(variable):
        return False
    if "__" in variable or _KUBERNETES.fullmatch(variable) is None:
        return True
    return variable.endswith("_PORT") and "://" not in text and "SERVICE" not in variable
