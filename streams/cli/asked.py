"""What commands are asked for in words: symbols, and moments in a dataset's time zone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import typer

from streams.errors import SettingsError

__all__ = ["moment_of", "symbols_of"]


def symbols_of(text: str) -> list[str]:
    """Return symbols with commas between them, or those of a file (`@FILE`), sorted; SettingsError if there is none."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8").replace("\n", ",")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--symbols {text}: the file cannot be read: {error}") from error
    found = [symbol for symbol in (part.strip() for part in text.split(",")) if symbol]
    if not found:
        raise SettingsError("--symbols names no symbol: give at least one, such as --symbols BTC-USD,ETH-USD")
    return sorted(set(found))


def moment_of(option: str, text: str, zone: str) -> datetime:
    """Return a day or a moment, in the zone if it names none; SettingsError naming the option if it is neither."""
    from zoneinfo import ZoneInfo

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option} {text}: give a day or a moment, such as 2024-01-31 or 2024-01-31T09:30Z"
        ) from None
    if moment.tzinfo is not None:
        return moment
    if zone != "UTC":
        typer.echo(f"{option} {text} is read in the dataset's time zone, {zone}", err=True)
    return moment.replace(tzinfo=ZoneInfo(zone))
