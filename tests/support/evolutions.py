"""Steps of schema evolution with what each direction allows, and how a reader that reads is asked about it."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fastavro

__all__ = ["STEPS", "Step", "really_reads", "record"]

Schema = dict[str, Any]


def record(*fields: Mapping[str, Any], **more: Any) -> Schema:
    """Return a record schema of these fields."""
    return {"type": "record", "name": "Bar", "namespace": "test", "fields": [dict(f) for f in fields], **more}


def f(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "Side", "symbols": list(symbols), **more}


@dataclass(frozen=True)
class Step:
    """A change from `old` to `new`.

    Attributes:
        backward: whether the new schema reads rows of the old one; `forward` the other way round.
        old_rows, new_rows: rows that make the difference felt.
        field: the field that is named where it breaks.
    """

    name: str
    old: Schema
    new: Schema
    backward: bool
    forward: bool
    old_rows: tuple[dict[str, Any], ...]
    new_rows: tuple[dict[str, Any], ...]
    field: str = "x"


A = f("a", "long")
_ROW = {"a": 1}
MONEY = {"type": "record", "name": "Money", "fields": [f("units", "long")]}

STEPS: tuple[Step, ...] = (
    Step(
        "a field is added without default",
        record(A),
        record(A, f("x", "int")),
        False,
        True,
        (_ROW,),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "a field is added with default",
        record(A),
        record(A, f("x", "int", default=0)),
        True,
        True,
        (_ROW,),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "a field is removed without default",
        record(A, f("x", "int")),
        record(A),
        True,
        False,
        ({"a": 1, "x": 2},),
        (_ROW,),
    ),
    Step(
        "a field is removed with default",
        record(A, f("x", "int", default=0)),
        record(A),
        True,
        True,
        ({"a": 1, "x": 2},),
        (_ROW,),
    ),
    Step(
        "a field is renamed with an alias",
        record(A, f("y", "int")),
        record(A, f("x", "int", aliases=["y"])),
        True,
        False,
        ({"a": 1, "y": 2},),
        ({"a": 1, "x": 2},),
        "y",
    ),
    Step(
        "a field is renamed without alias",
        record(A, f("y", "int")),
        record(A, f("x", "int")),
        False,
        False,
        ({"a": 1, "y": 2},),
        ({"a": 1, "x": 2},),
        "x",
    ),
    Step(
        "a field is renamed with an alias and both have defaults",
        record(A, f("y", "int", default=0)),
        record(A, f("x", "int", default=0, aliases=["y"])),
        True,
        True,
        ({"a": 1, "y": 2},),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "int is promoted to long",
        record(A, f("x", "int")),
        record(A, f("x", "long")),
        True,
        False,
        ({"a": 1, "x": 2},),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "long is promoted to double",
        record(A, f("x", "long")),
        record(A, f("x", "double")),
        True,
        False,
        ({"a": 1, "x": 2},),
        ({"a": 1, "x": 2.5},),
    ),
    Step(
        "float is promoted to double",
        record(A, f("x", "float")),
        record(A, f("x", "double")),
        True,
        False,
        ({"a": 1, "x": 2.0},),
        ({"a": 1, "x": 2.5},),
    ),
    Step(
        "a string becomes bytes",
        record(A, f("x", "string")),
        record(A, f("x", "bytes")),
        True,
        True,
        ({"a": 1, "x": "y"},),
        ({"a": 1, "x": b"y"},),
    ),
    Step(
        "a number becomes text",
        record(A, f("x", "double")),
        record(A, f("x", "string")),
        False,
        False,
        ({"a": 1, "x": 2.5},),
        ({"a": 1, "x": "2.5"},),
    ),
    Step(
        "a default changes",
        record(A, f("x", "int", default=0)),
        record(A, f("x", "int", default=7)),
        True,
        True,
        ({"a": 1, "x": 2},),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "a default is taken away",
        record(A, f("x", "int", default=0)),
        record(A, f("x", "int")),
        True,
        True,
        ({"a": 1, "x": 2},),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "an enum gains a symbol",
        record(A, f("x", enum("BUY"))),
        record(A, f("x", enum("BUY", "SELL"))),
        True,
        False,
        ({"a": 1, "x": "BUY"},),
        ({"a": 1, "x": "SELL"},),
    ),
    Step(
        "an enum with a default gains a symbol",
        record(A, f("x", enum("BUY", "NONE", default="NONE"))),
        record(A, f("x", enum("BUY", "NONE", "SELL", default="NONE"))),
        True,
        True,
        ({"a": 1, "x": "BUY"},),
        ({"a": 1, "x": "SELL"},),
    ),
    Step(
        "an enum loses a symbol",
        record(A, f("x", enum("BUY", "SELL"))),
        record(A, f("x", enum("BUY"))),
        False,
        True,
        ({"a": 1, "x": "SELL"},),
        ({"a": 1, "x": "BUY"},),
    ),
    Step(
        "a union is widened",
        record(A, f("x", ["null", "int"])),
        record(A, f("x", ["null", "int", "string"])),
        True,
        False,
        ({"a": 1, "x": 2}, {"a": 1, "x": None}),
        ({"a": 1, "x": "y"},),
    ),
    Step(
        "a union is narrowed",
        record(A, f("x", ["null", "int"])),
        record(A, f("x", "int")),
        False,
        True,
        ({"a": 1, "x": None},),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "a field becomes nullable",
        record(A, f("x", "double")),
        record(A, f("x", ["null", "double"])),
        True,
        False,
        ({"a": 1, "x": 2.5},),
        ({"a": 1, "x": None},),
    ),
    Step(
        "a nested record gains a field without default",
        record(A, f("x", MONEY)),
        record(A, f("x", {**MONEY, "fields": [*MONEY["fields"], f("currency", "string")]})),
        False,
        True,
        ({"a": 1, "x": {"units": 1}},),
        ({"a": 1, "x": {"units": 1, "currency": "EUR"}},),
        "x.currency",
    ),
    Step(
        "the items of an array change their type",
        record(A, f("x", {"type": "array", "items": "int"})),
        record(A, f("x", {"type": "array", "items": "string"})),
        False,
        False,
        ({"a": 1, "x": [1]},),
        ({"a": 1, "x": ["1"]},),
        "x[]",
    ),
    Step(
        "the order of fields changes",
        record(A, f("x", "int")),
        record(f("x", "int"), A),
        True,
        True,
        ({"a": 1, "x": 2},),
        ({"a": 1, "x": 2},),
    ),
    Step(
        "custom attributes change",
        record(A, f("x", "double", min=0)),
        record(A, f("x", "double", exclusiveMin=0)),
        True,
        True,
        ({"a": 1, "x": 2.0},),
        ({"a": 1, "x": 2.0},),
    ),
)


def really_reads(reader: Schema, writer: Schema, rows: tuple[dict[str, Any], ...]) -> bool:
    """Return whether fastavro reads rows written with one schema with the other."""
    parsed = [fastavro.parse_schema(copy.deepcopy(s)) for s in (writer, reader)]
    for row in rows:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed[0], row)
        buffer.seek(0)
        try:
            fastavro.schemaless_reader(buffer, parsed[0], parsed[1])
        except Exception:  # its exceptions have no common class
            return False
    return True
