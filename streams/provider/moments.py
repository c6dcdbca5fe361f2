"""Moments as a program gives them, as nanoseconds since the epoch. Pure."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from streams.archive.reader import nanoseconds
from streams.errors import SettingsError

__all__ = ["Moment", "moment_ns"]

Moment = datetime | int | str
"""An aware datetime, nanoseconds since the epoch, or text such as 2024-01-31 or 2024-01-31T09:30Z."""


def moment_ns(name: str, moment: Moment, zone: str) -> int:
    """Return a moment as nanoseconds since the epoch; text that names no zone is read in `zone`.

    Raises:
        SettingsError: naming the argument, if the text is no moment or a datetime has no zone.
    """
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise SettingsError(
                f"{name} is {moment!r}: give a day or a moment, such as 2024-01-31 or 2024-01-31T09:30Z"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
    elif isinstance(moment, datetime) and moment.tzinfo is None:
        raise SettingsError(f"{name} is {moment.isoformat()}, which has no time zone: give one, such as datetime.UTC")
    return nanoseconds(moment)
