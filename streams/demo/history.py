"""The rows of a history topic as frames: what a backfill has brought."""

from __future__ import annotations

import polars as pl

from schemas.avro import AvroRecord, parse_record
from schemas.codec import Decoder
from schemas.columns import to_polars
from schemas.contract import Contract
from streams import topics
from streams.demo.failed import DemoFailed
from streams.normalizer_job import registered_contract
from streams.partition_reader import PartitionReader
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["read_history"]

_ROWS_AT_ONCE = 10_000


def read_history(settings: Settings, dataset: str, registry: Registry) -> pl.DataFrame:
    """Return all committed rows of a dataset's history, in the columns of its contract.

    Raises:
        DemoFailed: if a record cannot be read.
        BrokerError, RegistryError: if Kafka or the registry refuses.
    """
    contract = Contract.parse(registered_contract(registry, settings.world, dataset).schema)

    def resolve(schema_id: int) -> AvroRecord:
        return parse_record(registry.schema_by_id(schema_id))

    decoder, frames = Decoder(resolve), list[pl.DataFrame]()
    topic = topics.history(settings.world, dataset)
    reader = PartitionReader(settings, topic, lambda count: list(range(count)), "earliest", until_end=True)
    try:
        while records := reader.read(_ROWS_AT_ONCE, None):
            decoded = decoder.decode(records.values)
            if decoded.failures:
                raise DemoFailed(f"a record of {topic} cannot be read: {decoded.failures[0].detail}")
            frames += [to_polars(part.batch, contract.record) for part in decoded.parts]
    finally:
        reader.close()
    if not frames:
        raise DemoFailed(f"{topic} is empty, though it was just filled")
    return pl.concat(frames)
