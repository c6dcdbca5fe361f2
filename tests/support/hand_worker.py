"""A worker's transactions made by hand: rows, progress and lease events, right or wrong as a test wants them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from coordinator.cursor import Cursor
from coordinator.digest import add_rows
from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.records import ControlPlane, send
from coordinator.shards import Job, Progress, Shard, ShardState
from coordinator.written import SHARD_HEADER, write_tag
from schemas.codec import Encoder
from schemas.contract import load_contract
from streams.clients import producer_config
from streams.clock import now_ms
from streams.partitioning import partition_of
from streams.transactions import TransactionalProducer
from tests.support.bars import MINUTE, START, good_bar
from tests.support.worlds import DATASET, World

__all__ = ["FIRST", "HandWorker", "Row", "rows_of_shard"]

FIRST = START * 1_000
"""Event time of a bar's minute 0 in nanoseconds since the epoch."""

Row = tuple[str, int]
"""A bar: symbol and minute."""


def rows_of_shard(shard: Shard) -> list[Row]:
    """Return all bars of a shard, symbol by symbol."""
    first, last = ((at - FIRST) // (MINUTE * 1_000) for at in (shard.start, shard.end))
    return [(symbol, minute) for symbol in shard.symbols for minute in range(first, last)]


class HandWorker:
    """Writes to a world's topics in transactions, as a worker does; `host` is who it says it is."""

    def __init__(self, world: World, host: str = "hand:1") -> None:
        self._world, self.host = world, host
        self.plane = ControlPlane.prepare(world.settings, world.registry)
        config = producer_config(world.settings, transactional_id=f"{world.name}.{host}")
        self._producer = TransactionalProducer(config, 30)
        contract = load_contract(world.settings.dataset(DATASET).contract)
        self._encoder = Encoder(contract.record, world.contract_schema.id)
        self._columns = contract.columns

    def encoded(self, rows: Iterable[Row]) -> tuple[list[bytes], list[bytes]]:
        """Return keys and payloads."""
        import pyarrow as pa

        wanted = list(rows)
        bars = [good_bar(symbol, minute) for symbol, minute in wanted]
        payloads = self._encoder.encode(pa.RecordBatch.from_pylist(bars, schema=self._columns))
        return [symbol.encode() for symbol, _ in wanted], payloads

    def say(self, *events: Job | Shard | Progress | LeaseEvent, abort: bool = False) -> None:
        """Write to the control plane alone."""
        self._transact([], None, events, abort=abort)

    def put(
        self, rows: Iterable[Row], shard: Shard, *events: Any, epoch: int | None = None, abort: bool = False
    ) -> None:
        """Write rows under a shard's name, in one transaction with events."""
        tag = write_tag(shard.id, epoch or shard.epoch)
        self._transact(list(rows), tag, events, abort=abort)

    def chunk(
        self,
        progress: Progress,
        rows: Iterable[Row],
        state: ShardState = ShardState.RUNNING,
        *,
        without: Iterable[Row] = (),
        keep_cursor: bool = True,
        error: str | None = None,
        event: LeaseChange | None = None,
    ) -> Progress:
        """Write a chunk and what a worker says of it; `without` are rows that it counts and does not write."""
        counted, shard = list(rows), progress.shard
        missing = set(without)
        keys, payloads = self.encoded(counted)
        before = progress.digest or (Cursor.decode(shard.cursor).digest if shard.cursor else "")
        already = progress.rows or (Cursor.decode(shard.cursor).rows if shard.cursor else 0)
        told = replace(
            progress,
            state=state,
            attempt=max(1, progress.attempt),
            sequence=progress.sequence + 1,
            offset=max(0, progress.offset),
            member=f"member-{self.host}",
            host=self.host,
            lease_epoch=3,
            rows=already + len(counted),
            digest=add_rows(before, keys, payloads),
            at=now_ms(),
            error=error,
        )
        cursor = Cursor(
            shard.id, shard.epoch, told.attempt, told.sequence, str(told.rows), rows=told.rows, digest=told.digest
        )
        told = replace(told, cursor=cursor.encode() if keep_cursor else None)
        events: list[Any] = [told]
        if event is not None:
            events.append(self.event(told, event, error))
        self.put([row for row in counted if row not in missing], shard, *events)
        return told

    def complete(self, progress: Progress, **arguments: Any) -> Progress:
        """Write a whole shard as one chunk."""
        return self.chunk(progress, rows_of_shard(progress.shard), ShardState.DONE, **arguments)

    def event(self, progress: Progress, event: LeaseChange, detail: str | None = None) -> LeaseEvent:
        """Return what happened to a lease of ours."""
        shard = progress.shard
        return LeaseEvent(
            shard=shard.id,
            job=shard.job,
            event=event,
            queue=self.plane.queue(urgent=shard.urgent),
            partition=shard.partition,
            offset=max(0, progress.offset),
            member=f"member-{self.host}",
            host=self.host,
            lease_epoch=3,
            attempt=max(1, progress.attempt),
            rows=progress.rows,
            at=now_ms(),
            detail=detail,
        )

    def close(self) -> None:
        self._producer.close()

    def _transact(self, rows: list[Row], tag: bytes | None, events: Iterable[Any], *, abort: bool) -> None:
        self._producer.begin()
        if rows:
            keys, payloads = self.encoded(rows)
            count = self._world.settings.dataset(DATASET).partitions
            headers = [] if tag is None else [(SHARD_HEADER, tag), ("as_of", b"1")]
            where = [partition_of(key, count) for key in keys]
            self._producer.send(self._world.topic("history"), payloads, keys, where, headers=headers)
        send(self._producer, [self.plane.encode(event) for event in events])
        if abort:
            self._producer.abort()
        else:
            self._producer.commit()
