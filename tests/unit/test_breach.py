"""A breach comes back from its record as it was, and its id depends on what was promised to whom and when it broke."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.events import load_event
from streams.sla.breach import EVENT, Breach, Burn, Example, breach_id

BEGAN = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
BREACH = Breach(
    id=breach_id("live", "quick", "ohlcv.us.1m", "momentum", "total", 0),
    sequence=1,
    state="escalated",
    severity="critical",
    world="live",
    objective="quick",
    kind="budget",
    promise="99 % of total within 2 s",
    dataset="ohlcv.us.1m",
    consumer="momentum",
    phase="total",
    interval="1m",
    window_start=BEGAN,
    window_end=BEGAN + timedelta(minutes=5),
    observed=20.5,
    promised=14.4,
    unit="rate",
    count=1_000,
    over=205,
    burn=(Burn(3_600, 300, 14.4, 15.0, 20.5, "critical"),),
    examples=(Example("f1", 9.5, BEGAN + timedelta(microseconds=7)),),
    runbook_url="https://runbooks.example/quick",
    opened_at=BEGAN,
    at=BEGAN + timedelta(minutes=5),
)


def test_it_comes_back_from_its_record() -> None:
    codec = ReferenceCodec(parse_record(load_event(EVENT)), 7, frozenset({"timestamp-micros"}))
    assert Breach.from_datum(codec.decode_one(codec.encode_one(BREACH.datum()))) == BREACH


def test_a_field_of_a_later_version_is_left_out() -> None:
    assert Breach.from_datum({**BREACH.datum(), "colour": "red"}) == BREACH


def test_the_record_has_every_field_and_each_is_documented() -> None:
    declared = load_event(EVENT)["fields"]
    assert {f["name"] for f in declared} == {f.name for f in fields(Breach)}
    assert all(f.get("doc") for f in declared)


@pytest.mark.parametrize(
    "change",
    [
        {"world": "paper"},
        {"objective": "slow"},
        {"dataset": "x"},
        {"consumer": None},
        {"phase": "live_wait"},
        {"began": 1},
    ],
)
def test_what_was_promised_to_whom_and_when_it_broke_tells_ids_apart(change: dict[str, Any]) -> None:
    parts = {"world": "live", "objective": "quick", "dataset": "d", "consumer": "c", "phase": "total", "began": 0}
    assert breach_id(**parts) == breach_id(**parts)  # type: ignore[arg-type]
    assert breach_id(**parts) != breach_id(**{**parts, **change})  # type: ignore[arg-type]


def test_it_is_open_until_it_is_resolved() -> None:
    assert BREACH.is_open
    assert not replace(BREACH, state="resolved").is_open
