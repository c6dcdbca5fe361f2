"""Shard jobs for tests that talk to nobody: schemas with fixed ids, and no topics behind the names."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa

from coordinator.chunks import Chunk, ShardJob, make_chunk
from coordinator.cursor import Cursor
from coordinator.shards import Shard
from coordinator.source import SourceBatch
from schemas.codec import Encoder
from schemas.conformance import ConformancePipeline
from schemas.contract import Contract, load_contract
from schemas.report import Mode
from streams.events import EventCodec
from streams.registry import RegisteredSchema, Registry

__all__ = ["CONTRACT_ID", "NOW", "WORLD", "cursor_of", "job_of", "one_chunk", "shard_of"]

WORLD = "paper"
DATASET = "bars"
CONTRACT_ID = 7
EVENT_ID = 8
NOW = 1_750_000_000_000


class _Subjects:
    """What an event's codec asks of a registry when it is made: whether the subject holds the schema."""

    def lookup(self, subject: str, schema: dict[str, Any]) -> RegisteredSchema:
        return RegisteredSchema(subject, EVENT_ID, 1, schema)


def job_of(
    contract: Contract | None = None,
    mode: Mode = "blocking",
    *,
    interval_ns: int | None = 60_000_000_000,
    partitions: int = 4,
    timezone: str = "UTC",
) -> ShardJob:
    """Return the job of one-minute bars around the clock, or of another contract's rows."""
    contract = contract or load_contract("ohlcv")
    registry = cast("Registry", _Subjects())
    return ShardJob(
        dataset=DATASET,
        world=WORLD,
        history=f"{WORLD}.history.{DATASET}",
        quarantine=f"{WORLD}.quarantine.{DATASET}",
        reports=f"{WORLD}.conformance.reports",
        partitions=partitions,
        contract=contract,
        contract_version=3,
        pipeline=ConformancePipeline(
            contract, mode, dataset=DATASET, world=WORLD, interval_ns=interval_ns, timezone=timezone, version=3
        ),
        encoder=Encoder(contract.record, CONTRACT_ID),
        quarantine_codec=EventCodec(registry, f"{WORLD}.quarantine.{DATASET}", "quarantined_row"),
        report_codec=EventCodec(registry, f"{WORLD}.conformance.reports", "conformance_report"),
    )


def shard_of(symbols: tuple[str, ...], start: int, end: int, **changes: Any) -> Shard:
    """Return a shard of the dataset; `start` and `end` are nanoseconds since the epoch."""
    values: dict[str, Any] = {
        "id": "shard-1",
        "job": "job-1",
        "dataset": DATASET,
        "source": "files:bars.parquet",
        "as_of": NOW,
        "contract_version": 3,
        "estimated_rows": 10,
        "partition": 0,
    }
    return Shard(symbols=symbols, start=start, end=end, **(values | changes))


def cursor_of(shard: Shard) -> Cursor:
    """Return the cursor of a shard that was just claimed."""
    return Cursor(shard.id, shard.epoch, 1, started_at=NOW)


def one_chunk(job: ShardJob, shard: Shard, rows: pa.RecordBatch, **changes: Any) -> Chunk:
    """Return the chunk that holds all rows of a shard; `changes` are cursor, chunk_rows and schema."""
    arguments: dict[str, Any] = {"cursor": cursor_of(shard), "chunk_rows": 1_000_000, "schema": None} | changes
    batch = SourceBatch(rows, "end", arguments["schema"])
    return make_chunk(job, shard, arguments["cursor"], batch, arguments["chunk_rows"], now_ms=NOW)
