"""The monitoring bundle as files: `seamless_v2.jsonnet`, evaluated with what an installation lays over its settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import _gojsonnet

from streams.errors import SettingsError

__all__ = ["RUNBOOKS", "SOURCES", "dashboards_of_alerts", "rendered", "written"]

SOURCES = Path(__file__).parent
RUNBOOKS = SOURCES.parent / "runbooks"


def rendered(changes: Path | None = None) -> dict[str, str]:
    """Return each file by its path in the bundle: `dashboards/*.json` and `rules/*.yml`; nothing but text.

    Args:
        changes: a file of jsonnet (or JSON) with an object that is laid over `config.libsonnet`.

    Raises:
        SettingsError: if the file cannot be read, is no jsonnet, or has a key that the configuration has not.
    """
    code = "{}"
    if changes is not None:
        try:
            code = changes.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--with {changes}: the file cannot be read: {error}") from error
    try:
        made = _gojsonnet.evaluate_file(str(SOURCES / "seamless_v2.jsonnet"), tla_codes={"with": code})
    except RuntimeError as error:
        raise SettingsError(f"--with {changes}: {_reason(error)}. Correct the file") from None
    files: dict[str, str] = json.loads(made)
    return files


def dashboards_of_alerts() -> dict[str, str]:
    """Return the title of the dashboard that each alert leads to, by the alert's name."""
    code = """
      local made = (import 'mixin.libsonnet')(import 'config.libsonnet');
      local titles = { [d.uid]: d.title for d in std.objectValues(made.grafanaDashboards) };
      {
        [rule.alert]: titles[std.split(std.split(rule.annotations.dashboard_url, '/d/')[1], '?')[0]]
        for group in made.prometheusAlerts.groups
        for rule in group.rules
      }
    """
    titles: dict[str, str] = json.loads(_gojsonnet.evaluate_snippet("alerts", code, jpathdir=[str(SOURCES)]))
    return titles


def written(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the bundle and the runbooks below a folder, over what is there of an earlier one; return the paths.

    Raises:
        SettingsError: if the folder cannot be written.
    """
    runbooks = {f"runbooks/{page.relative_to(RUNBOOKS)}": page.read_text("utf-8") for page in RUNBOOKS.glob("*/*.md")}
    made = []
    try:
        for name, text in sorted({**files, **runbooks}.items()):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            made.append(path)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror or error}. Choose another folder") from error
    return made


def _reason(error: RuntimeError) -> str:
    """Return what jsonnet says, without its trace."""
    first = str(error).splitlines()[0]
    return re.sub(r"^(RUNTIME|STATIC) ERROR: |<top-level-arg:with>:", "", first).strip(" .")
