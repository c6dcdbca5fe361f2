"""What all commands share: the options for the settings, and the settings read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.log import configure_logging
from streams.settings import LoadedSettings, Settings, load_with_origins

__all__ = ["ConfigOption", "JsonOption", "WorldOption", "loaded_from", "settings_from"]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Settings file (default: SEAMLESS_CONFIG, then ./seamless.toml).",
        show_default=False,
    ),
]
WorldOption = Annotated[
    str | None,
    typer.Option("--world", "-w", help="Isolation domain (default: from the settings).", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def settings_from(config: Path | None, world: str | None) -> Settings:
    """Read the settings for a command and set up logging as they say; SettingsError if they are refused."""
    return loaded_from(config, world).settings


def loaded_from(config: Path | None, world: str | None) -> LoadedSettings:
    """Read the settings as `settings_from` does, with the origin of each value."""
    loaded = load_with_origins(config, overrides={"world": world})
    log = loaded.settings.log
    configure_logging(log.level, json=None if log.format == "auto" else log.format == "json")
    return loaded
