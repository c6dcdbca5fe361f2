"""A program that lets faust close the windows of two partitions, and prints those that it tells of; needs no broker."""

from __future__ import annotations

import asyncio
import json
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
from faust import streams
from faust.events import Event
from faust.tables.base import Collection
from faust.types import Message

LONG_AGO = 1_000.0


def unsent(_table: object, partition: int, *_: object, **__: object) -> SimpleNamespace:
    """Stand in for the sending of a changelog: what is lost is lost before anything is sent."""
    return SimpleNamespace(message=SimpleNamespace(partition=partition))


async def closed_windows(folder: Path) -> list[Any]:
    """Fold one record of each of two partitions into a window; return the keys of the windows that faust closes."""
    closed: list[Any] = []
    app = faust.App("defect", store="memory://", datadir=folder, autodiscover=False, web_enabled=False)
    windows = app.Table("windows", default=int, partitions=2, on_window_close=lambda key, _: closed.append(key[0]))
    windowed = windows.tumbling(10.0, expires=1.0)
    for partition in range(2):
        message = Message("source", partition, 0, LONG_AGO, 0, {}, b"key", b"value", None)
        event = Event(app, b"key", b"value", {}, message)
        # A table can be written only where an agent handles an event.
        token = streams._current_event.set(weakref.ref(event))
        windowed[f"of partition {partition}"] += 1
        streams._current_event.reset(token)
    await windows._del_old_keys()  # type: ignore[attr-defined]
    return closed


if __name__ == "__main__":
    Collection.send_changelog = unsent  # type: ignore[assignment,method-assign]
    print(json.dumps(asyncio.run(closed_windows(Path(sys.argv[1])))))  # noqa: T201
