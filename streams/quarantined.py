"""Quarantined rows: how a raw record that failed is wrapped, so that it can be understood and sent again."""

from __future__ import annotations

from typing import Any, cast

from confluent_kafka import Message

from schemas.conformance import Rejected
from schemas.contract import Contract
from schemas.wire import schema_id

__all__ = ["REPLAY_HEADER", "wrap"]

# Names the quarantine record (topic:partition:offset) that a raw record was replayed from.
REPLAY_HEADER = "seamless-replay-of"


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
        "dataset": dataset,
        "world": world,
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp_ms": timestamp_ms,
        "key": key,
        "value": value,
        "headers": [{"name": name, "value": v} for name, v in headers],
        "schema_id": schema_id(value),
        "reasons": [{"flag": r.flag, "column": r.column, "detail": r.detail} for r in rejected.reasons],
        "contract_fingerprint": contract.fingerprint,
        "contract_version": contract_version,
        "quarantined_at": now_ms,
        "replay_of": replay_of.decode(errors="replace") if replay_of is not None else None,
    }
