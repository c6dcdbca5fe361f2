"""Quarantined rows: how a row that failed is wrapped, so that it can be understood, and a raw one sent again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, cast

from confluent_kafka import Message

from schemas.conformance import Rejected
from schemas.contract import Contract
from schemas.wire import schema_id

__all__ = ["REPLAY_HEADER", "source_of", "wrap", "wrap_fetched"]

# Names the quarantine record (topic:partition:offset) that a raw record was replayed from.
REPLAY_HEADER = "seamless-replay-of"

# A row that backfill fetched has no raw topic; in its place stands where it was fetched from.
_FETCHED = "backfill:"


def wrap(
    message: Message,
    rejected: Rejected,
    *,
    dataset: str,
    world: str,
    contract: Contract,
    contract_version: int | None,
    now_ms: int,
) -> dict[str, Any]:
    """Return a datum of `events/quarantined_row.avsc`."""
    value, key = message.value(), message.key()
    # confluent-kafka's stubs allow forms of headers that a consumed message never has.
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    replay_of = next((v for name, v in headers if name == REPLAY_HEADER and v is not None), None)
    _, timestamp_ms = message.timestamp()
    return {
        **_judged(rejected, dataset, world, contract, contract_version, now_ms),
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp_ms": timestamp_ms,
        "key": key,
        "value": value,
        "headers": [{"name": name, "value": v} for name, v in headers],
        "schema_id": schema_id(value),
        "replay_of": replay_of.decode(errors="replace") if replay_of is not None else None,
    }


def wrap_fetched(
    key: bytes | None,
    row: Mapping[str, Any],
    number: int,
    rejected: Rejected,
    *,
    source: str,
    dataset: str,
    world: str,
    contract: Contract,
    contract_version: int,
    now_ms: int,
) -> dict[str, Any]:
    """Return a datum of `events/quarantined_row.avsc` for a row that backfill fetched: its columns as JSON.

    Args:
        row: the columns, as the source named them.
        number: its number in its shard, from 0.
        source: where it was fetched from.
    """
    return {
        **_judged(rejected, dataset, world, contract, contract_version, now_ms),
        "topic": _FETCHED + source,
        "partition": -1,
        "offset": number,
        "timestamp_ms": -1,
        "key": key,
        "value": json.dumps({name: _plain(v) for name, v in row.items()}, ensure_ascii=False).encode(),
        "headers": [],
        "schema_id": None,
        "replay_of": None,
    }


def source_of(datum: Mapping[str, Any]) -> str | None:
    """Return where backfill fetched a quarantined row from; None for a raw record."""
    topic: str = datum["topic"]
    return topic.removeprefix(_FETCHED) if topic.startswith(_FETCHED) else None


def _judged(
    rejected: Rejected, dataset: str, world: str, contract: Contract, contract_version: int | None, now_ms: int
) -> dict[str, Any]:
    """Return what is said of a row wherever it came from."""
    return {
        "dataset": dataset,
        "world": world,
        "reasons": [{"flag": r.flag, "column": r.column, "detail": r.detail} for r in rejected.reasons],
        "contract_fingerprint": contract.fingerprint,
        "contract_version": contract_version,
        "quarantined_at": now_ms,
    }


def _plain(value: object) -> object:
    """Return a value as JSON can hold it; what it has no form for becomes text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)
