"""Writes to the raw topic past the governed producer, as whoever has the broker's address can."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl
from confluent_kafka import KafkaError, Message, Producer

from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.wire import HEADER_SIZE, header
from streams import topics
from streams.clients import producer_config
from streams.demo.scenario import CUT_OFF, NO_AVRO, NO_SCHEMA, Junk, Row
from streams.errors import BrokerError
from streams.registry import RegisteredSchema
from streams.settings import Settings

__all__ = ["UNREGISTERED", "payloads", "write_past"]

UNREGISTERED = 999_999_999
"""A schema id that no registry of this size has."""
_FLUSH_SECONDS = 15.0


def write_past(
    settings: Settings, dataset: str, raw: RegisteredSchema, refused: pl.DataFrame, junk: tuple[Junk, ...]
) -> int:
    """Write what no governed producer would with a plain Kafka producer; return how many records.

    Raises:
        BrokerError: if Kafka did not take them.
    """
    producer = Producer(producer_config(settings))
    topic = topics.raw(settings.world, dataset)
    failed: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    records = list(payloads(raw, refused, junk))
    for key, payload in records:
        producer.produce(topic, payload, key, on_delivery=delivered)
    if producer.flush(_FLUSH_SECONDS) or failed:
        why = failed[0] if failed else "no answer in time"
        raise BrokerError(f"not all of {len(records)} records could be written to {topic}: {why}")
    return len(records)


def payloads(raw: RegisteredSchema, refused: pl.DataFrame, junk: tuple[Junk, ...]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the payload of each record; rows are encoded under the vendor's own registered schema."""
    codec = ReferenceCodec(parse_record(raw.schema), raw.id)
    for row in refused.iter_rows(named=True):
        yield row["Ticker"].encode(), codec.encode_one(row)
    for piece in junk:
        yield piece.row["Ticker"].encode(), _broken(piece, codec, piece.row)


def _broken(piece: Junk, codec: ReferenceCodec, row: Row) -> bytes:
    whole = codec.encode_one(row)
    if piece.fault == NO_AVRO:
        return json.dumps(row).encode()
    if piece.fault == CUT_OFF:
        return whole[: len(whole) // 2]
    if piece.fault == NO_SCHEMA:
        return header(UNREGISTERED) + whole[HEADER_SIZE:]
    raise ValueError(f"there is no payload for the fault {piece.fault.name}")
