"""Avro schemas of the control plane: what Seamless's own processes tell each other."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from schemas.avro import AvroSchema

__all__ = ["event_names", "load_event"]


def event_names() -> list[str]:
    """Return the names of all event schemas: `conformance_report`, ..."""
    folder = resources.files("schemas") / "events"
    return sorted(p.name.removesuffix(".avsc") for p in folder.iterdir() if p.name.endswith(".avsc"))


@cache
def load_event(name: str) -> AvroSchema:
    """Return an event's Avro schema by its file's name without `.avsc`; treat it as read-only."""
    text = (resources.files("schemas") / "events" / f"{name}.avsc").read_text(encoding="utf-8")
    schema: AvroSchema = json.loads(text)
    return schema
