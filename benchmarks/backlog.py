"""The standing backlog that every job works off."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from confluent_kafka import Producer
from pyruhvro import serialize_record_batch

from benchmarks.broker import Broker
from benchmarks.contract import Contract
from benchmarks.programs.clients import PRODUCING
from benchmarks.reading import TopicContent, read_topic

__all__ = ["Backlog", "fill_topic"]

_SLICE = 50_000


@dataclass(frozen=True)
class Backlog:
    """A filled input topic and what it holds, which is also what every output must hold."""

    topic: str
    schema_id: int
    content: TopicContent


def fill_topic(broker: Broker, topic: str, rows: pa.RecordBatch, contract: Contract) -> Backlog:
    """Fill an empty topic with framed rows, keyed by their symbol, and read it back."""
    schema_id = broker.register(f"{topic}-value", contract.text)
    header = b"\0" + schema_id.to_bytes(4, "big")
    producer = Producer({**broker.client, "enable.idempotence": True, **PRODUCING})
    for start in range(0, rows.num_rows, _SLICE):
        part = rows.slice(start, _SLICE)
        keys = [symbol.encode() for symbol in part.column("symbol").to_pylist()]
        bodies = [body for chunk in serialize_record_batch(part, contract.text, 1) for body in chunk.to_pylist()]
        for key, body in zip(keys, bodies, strict=True):
            producer.produce(topic, header + body, key)
        producer.flush()
    content = read_topic(broker, topic)
    if content.records != rows.num_rows:
        raise RuntimeError(f"the backlog holds {content.records} of {rows.num_rows} records")
    return Backlog(topic, schema_id, content)
