"""What a normalizer writes: rows, quarantine, states and reports, all into the open transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from schemas.columns import numbers
from schemas.conformance import ConformanceResult
from schemas.keystate import KeyStates
from schemas.report import ConformanceReport, SchemaCount, merge_reports, merge_schemas
from streams import topics
from streams.clock import monotonic, now, now_ms
from streams.normalizer_job import NormalizerJob
from streams.quarantined import wrap
from streams.raw_batch import RawBatch
from streams.schema_news import SchemaNews
from streams.state_store import StateStore
from streams.transactions import TransactionalProducer

__all__ = ["NormalizerOutput", "OpenTransaction"]

_EPOCH, _MICROS = datetime(1970, 1, 1, tzinfo=UTC), 1_000_000
_BY_KEY = -1  # as partition: the partitioner chooses by the record's key


class OpenTransaction:
    """What the open transaction holds so far.

    Attributes:
        started: when its first row was conformed, on the monotonic clock.
        rows: raw rows read.
        fallbacks: records that went through the reference codec.
        reports: of each batch.
        schemas: rows of each batch by schema.
        offsets: the offset to commit, by partition.
        newest: greatest event time of the rows that were written, microseconds since the epoch and not before; None if
            none were.
        touched: slots of the keys whose states changed.
    """

    def __init__(self) -> None:
        self.started = 0.0
        self.rows = 0
        self.fallbacks = 0
        self.reports: list[ConformanceReport] = []
        self.schemas: list[SchemaCount] = []
        self.offsets: dict[int, int] = {}
        self.newest: int | None = None
        self.touched: set[int] = set()

    def add(
        self, batch: RawBatch, result: ConformanceResult, fallbacks: int, schemas: tuple[SchemaCount, ...] = ()
    ) -> None:
        """Count a batch that was written."""
        self.rows += len(batch.messages)
        self.fallbacks += fallbacks
        self.reports.append(result.report)
        self.schemas += schemas
        self.offsets |= {r.partition: r.last + 1 for r in result.report.ranges}
        if result.batch.num_rows:
            newest = int(numbers(result.batch.column(result.contract.event_time)).max())
            self.newest = max(self.newest or 0, newest * _MICROS // result.contract.time_units)
        self.touched.update(result.delta.slots.tolist())

    def shares(self) -> list[tuple[int, int]]:
        """Return (rows, quarantined rows) of each batch."""
        return [(r.rows_in, r.rows_quarantined) for r in self.reports]

    def newest_before(self, moment: datetime) -> datetime | None:
        """Return `newest`, or a moment if that is earlier: a row that is dated in the future may be dated anyhow."""
        if self.newest is None:
            return None
        return _EPOCH + timedelta(microseconds=min(self.newest, (moment - _EPOCH) // timedelta(microseconds=1)))

    def age(self) -> float:
        """Return how many seconds ago the first row was conformed."""
        return monotonic() - self.started


class NormalizerOutput:
    """Writes the outcome of batches; every method raises TransactionAborted if the transaction cannot go on."""

    def __init__(
        self, job: NormalizerJob, world: str, instance: str, producer: TransactionalProducer, store: StateStore
    ) -> None:
        self._job, self._world, self._producer, self._store = job, world, producer, store
        self._news = SchemaNews(job.dataset, topics.subject(job.raw), f"{job.group} {instance}")

    def write(self, batch: RawBatch, result: ConformanceResult) -> None:
        """Write accepted rows to the partitions that they came from, and rejected ones to quarantine."""
        partitions = batch.partitions if result.rows is None else batch.partitions[result.rows]
        if result.batch.num_rows:
            encoded = result.batch.column(self._job.contract.key).dictionary_encode()
            symbols = [s.encode() for s in encoded.dictionary.to_pylist()]
            keys = map(symbols.__getitem__, encoded.indices.to_numpy(zero_copy_only=False).tolist())
            payloads = self._job.encoder.encode(result.batch)
            self._producer.send(self._job.normalized, payloads, keys, partitions.tolist())
        if result.rejected:
            self._write_quarantine(batch, result)

    def write_states_and_report(
        self, transaction: OpenTransaction, states: KeyStates, schema_mode: str | None = None
    ) -> ConformanceReport:
        """Write what ends a transaction: the states of the keys that it touched, and one report of all its batches."""
        touched, at = np.array(sorted(transaction.touched), np.int64), now()
        self._producer.send(self._job.state, *self._store.encode(states.records(states.read(touched))))
        report = merge_reports(transaction.reports).model_copy(
            update={
                "created_at": at,
                "newest": transaction.newest_before(at),
                "schema_mode": schema_mode,
                "schemas": merge_schemas(transaction.schemas),
            }
        )
        payload = self._job.report_codec.encode(report.to_avro())
        self._producer.send(self._job.reports, [payload], [self._job.dataset.encode()], [_BY_KEY])
        entries = self._news.entries(report, now_ms())
        if entries:
            payloads = [self._job.audit_codec.encode(entry.to_avro()) for entry in entries]
            self._producer.send(self._job.audit, payloads, [e.key for e in entries], [0] * len(entries))
        return report

    def committed(self) -> None:
        """Remember that what was written last is committed: what it told of schemas needs no telling again."""
        self._news.told()

    def _write_quarantine(self, batch: RawBatch, result: ConformanceResult) -> None:
        at = now_ms()
        messages = [batch.messages[r.row] for r in result.rejected]
        payloads = [
            self._job.quarantine_codec.encode(
                wrap(
                    message,
                    rejected,
                    dataset=self._job.dataset,
                    world=self._world,
                    contract=self._job.contract,
                    contract_version=self._job.contract_version,
                    now_ms=at,
                )
            )
            for message, rejected in zip(messages, result.rejected, strict=True)
        ]
        partitions = [int(m.partition() or 0) for m in messages]
        self._producer.send(self._job.quarantine, payloads, [m.key() for m in messages], partitions)
