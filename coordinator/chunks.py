"""Chunks: what one transaction of a shard writes, made from a source's rows.

A chunk is a function of its arguments alone, so one that was lost with its worker comes out the same when it is done
again. However a shard's rows are cut into batches and chunks, what comes out together is the same too: conformance
remembers one row of each symbol, and that memory travels in the cursor (as long as it fits there).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coordinator.cursor import Cursor, CursorError
from coordinator.digest import add_rows
from coordinator.shards import Shard
from coordinator.source import SourceBatch, SourceError
from schemas.batch import ConformanceResult, Origin, Part, Reason, Rejected
from schemas.codec import Encoder
from schemas.columns import numbers
from schemas.conformance import ConformancePipeline
from schemas.contract import Contract
from schemas.exceptions import Exceptions
from schemas.grid import NANOS
from schemas.keystate import NEVER, KeyRecord, KeyStates
from schemas.mapping import Located, locate
from schemas.report import ConformanceReport
from streams import topics
from streams.events import EventCodec
from streams.normalizer_job import check_topics, make_pipeline, registered_contract
from streams.partitioning import partition_of
from streams.quarantined import wrap_fetched
from streams.registry import Registry
from streams.schema_checks import exceptions_of
from streams.settings import Settings

__all__ = ["Chunk", "Refused", "ShardJob", "make_chunk"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Rows remembered per symbol: its last one, as no more of many symbols would fit into the cursor.
_MEMORY = 1
# In reports, as in quarantine: these rows have no raw partition.
_NO_PARTITION = -1


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Everything about a dataset that its shards have in common; safe to share between threads."""

    dataset: str
    world: str
    history: str
    quarantine: str
    reports: str
    partitions: int
    contract: Contract
    contract_version: int
    pipeline: ConformancePipeline
    encoder: Encoder
    quarantine_codec: EventCodec
    report_codec: EventCodec
    exceptions: Exceptions = field(default_factory=Exceptions)

    @classmethod
    def prepare(
        cls, settings: Settings, dataset: str, registry: Registry, *, contract_version: int | None = None
    ) -> ShardJob:
        """Look everything up.

        Args:
            contract_version: of the contract in the registry; None for the newest.

        Raises:
            SettingsError: if the dataset is not configured.
            RegistryError: if a subject is not registered, or the registry cannot be reached.
            ContractError: if the registered contract is broken.
            BrokerError: if a topic is missing or has another number of partitions, or Kafka cannot be reached.
        """
        world, partitions = settings.world, settings.dataset(dataset).partitions
        registered = registered_contract(registry, world, dataset, contract_version)
        contract = Contract.parse(registered.schema)
        quarantine, reports = topics.quarantine(world, dataset), topics.conformance_reports(world)
        check_topics(settings, dataset, (topics.history, topics.quarantine))
        return cls(
            dataset=dataset,
            world=world,
            history=topics.history(world, dataset),
            quarantine=quarantine,
            reports=reports,
            partitions=partitions,
            contract=contract,
            contract_version=registered.version,
            pipeline=make_pipeline(settings, dataset, contract, registered.version),
            encoder=Encoder(contract.record, registered.id),
            quarantine_codec=EventCodec(registry, quarantine, "quarantined_row"),
            report_codec=EventCodec(registry, reports, "conformance_report"),
            exceptions=exceptions_of(settings),
        )


class Refused(NamedTuple):
    """Records for the quarantine topic; the partitioner chooses by their keys."""

    keys: list[bytes | None]
    payloads: list[bytes]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one transaction writes, besides progress and offset.

    Attributes:
        keys, payloads, partitions: records for the history topic, in order.
        quarantined: records for the quarantine topic.
        report: counts and places of the rows that were asked for; its partition is -1, its offsets number the shard's
            rows.
        cursor: where to go on after it.
        exhausted: whether the batch is used up.
    """

    keys: list[bytes]
    payloads: list[bytes]
    partitions: list[int]
    quarantined: Refused
    report: ConformanceReport
    cursor: Cursor
    exhausted: bool


def make_chunk(
    job: ShardJob, shard: Shard, cursor: Cursor, batch: SourceBatch, chunk_rows: int, *, now_ms: int
) -> Chunk:
    """Conform the next rows of a batch, those after the first `cursor.skip`.

    Rows of other symbols or times than the shard's are counted and dropped before they are judged. Rows whose symbol or
    time cannot be read go to quarantine in either mode, as nobody can tell where they belong.

    Args:
        chunk_rows: most rows to take.
        now_ms: stamped on the report and on quarantined rows, milliseconds since the epoch.

    Raises:
        ContractError: if the contract cannot conform the source's columns at all.
        SourceError: not retryable, if the batch is another one than the cursor tells of.
        CursorError: if the source's own place is too long.
    """
    cursor = cursor.fitting()
    total = batch.rows.num_rows
    if cursor.skip > total:
        raise SourceError(
            f"{shard.source}: {cursor.skip} rows of a batch are done, but now it has {total}: the source gives other "
            "rows than before. Request the range again with an as_of of now: that is fetched anew from its beginning.",
            retryable=False,
        )
    rows = batch.rows.slice(cursor.skip, chunk_rows)
    first = cursor.rows + cursor.rejected + cursor.outside + cursor.dropped
    exhausted = cursor.skip + rows.num_rows == total
    located = locate(job.contract, rows, batch.schema, job.pipeline.timezone)
    outside = _outside(shard, located, NANOS // job.contract.time_units)
    numbered = first + np.flatnonzero(~outside)
    if outside.any():
        rows, located = rows.filter(pa.array(~outside)), located.only(np.flatnonzero(~outside))
    states = _states(cursor)
    result = job.pipeline.run(
        [Part(rows, batch.schema)],
        states,
        origin=Origin(np.zeros(len(numbered), np.int32), numbered),
        excepted=job.exceptions.active(job.dataset, datetime.fromtimestamp(now_ms / 1_000, UTC).date()),
    )
    states.apply(result.delta)
    result = _without_unplaced(result, located)
    keys: list[bytes] = result.batch.column(job.contract.key).cast(pa.binary()).to_pylist()
    times = numbers(result.batch.column(job.contract.event_time))
    payloads = job.encoder.encode(result.batch)
    where = {key: partition_of(key.decode(), job.partitions) for key in set(keys)}
    newest = int(times.max()) * (NANOS // job.contract.time_units) if len(times) else None
    last, seen = _memory(states)
    return Chunk(
        keys=keys,
        payloads=payloads,
        partitions=[where[key] for key in keys],
        quarantined=_refused(job, shard, rows, located.keys, numbered, result.rejected, now_ms),
        report=_report(result.report, now_ms),
        cursor=replace(
            cursor,
            sequence=cursor.sequence + 1,
            at=batch.cursor if exhausted else cursor.at,
            skip=0 if exhausted else cursor.skip + len(outside),
            rows=cursor.rows + len(payloads),
            rejected=cursor.rejected + len(result.rejected),
            outside=cursor.outside + int(outside.sum()),
            dropped=cursor.dropped + len(result.dropped),
            digest=add_rows(cursor.digest, keys, payloads),
            newest=max((n for n in (cursor.newest, newest) if n is not None), default=None),
            last=last,
            seen=seen,
        ),
        exhausted=exhausted,
    )


def _outside(shard: Shard, located: Located, to_nanos: int) -> Mask:
    """Return which rows were not asked for, as far as it can be told."""
    times = located.times * to_nanos
    known: Mask = pc.is_in(located.keys, pa.array(shard.symbols, located.keys.type)).to_numpy(zero_copy_only=False)
    outside: Mask = ~(known & (times >= shard.start) & (times < shard.end)) & ~located.unread
    return outside


def _states(cursor: Cursor) -> KeyStates:
    """Return what a cursor remembers."""
    states = KeyStates(_MEMORY)
    try:
        states.restore(_record(key, newest, cursor.seen.get(key)) for key, newest in cursor.last.items())
    except ValueError as error:
        raise CursorError("the cursor's memory cannot be read: another release wrote it") from error
    return states


def _record(key: str, newest: int, seen: str | None) -> KeyRecord:
    hashes = np.frombuffer(b64decode(seen + "==") if seen else b"", "<u8").astype(np.uint64).reshape(-1, 2)
    return KeyRecord(0, key, newest, len(hashes), hashes[:, 0], hashes[:, 1])


def _memory(states: KeyStates) -> tuple[dict[str, int], dict[str, str]]:
    """Return (newest event time, hashes of the last row) of each symbol."""
    records = sorted((r for r in states.all_records() if r.newest != NEVER), key=lambda r: r.key)
    hashes = {r.key: np.concatenate((r.identities, r.contents)) for r in records if len(r.identities)}
    seen = {key: b64encode(h.astype("<u8").tobytes()).decode().rstrip("=") for key, h in hashes.items()}
    return {r.key: r.newest for r in records}, seen


def _without_unplaced(result: ConformanceResult, located: Located) -> ConformanceResult:
    """Reject rows that shadow mode lets pass without a symbol or a time."""
    n = len(located.unread)
    places = np.arange(n) if result.rows is None else result.rows
    unplaced = located.unread[places]
    if not unplaced.any():
        return result
    masks = [(Reason(h.finding.name, h.column), h.mask(n)) for h in located.hits]
    more = [Rejected(int(i), tuple(reason for reason, mask in masks if mask[i])) for i in places[unplaced]]
    counts = {
        "rows_out": result.report.rows_out - len(more),
        "rows_quarantined": result.report.rows_quarantined + len(more),
    }
    return replace(
        result,
        batch=result.batch.filter(pa.array(~unplaced)),
        rows=places[~unplaced],
        rejected=sorted(result.rejected + more, key=lambda r: r.row),
        report=result.report.model_copy(update=counts),
    )


def _refused(
    job: ShardJob,
    shard: Shard,
    rows: pa.RecordBatch,
    keys: pa.Array,
    numbered: Ints,
    rejected: Sequence[Rejected],
    now_ms: int,
) -> Refused:
    """Wrap rejected rows for quarantine."""
    refused = Refused([], [])
    places = pa.array([r.row for r in rejected], pa.int64())
    for reject, row, symbol in zip(rejected, rows.take(places).to_pylist(), keys.take(places).to_pylist(), strict=True):
        key = symbol.encode() if symbol else None
        datum = wrap_fetched(
            key,
            row,
            int(numbered[reject.row]),
            reject,
            source=shard.source,
            dataset=job.dataset,
            world=job.world,
            contract=job.contract,
            contract_version=job.contract_version,
            now_ms=now_ms,
        )
        refused.keys.append(key)
        refused.payloads.append(job.quarantine_codec.encode(datum))
    return refused


def _report(report: ConformanceReport, now_ms: int) -> ConformanceReport:
    """Say that the rows have no raw partition, and when they were judged."""
    ranges = tuple(r.model_copy(update={"partition": _NO_PARTITION}) for r in report.ranges)
    findings = tuple(
        f.model_copy(update={"examples": tuple(f"{_NO_PARTITION}:{e.partition(':')[2]}" for e in f.examples)})
        for f in report.findings
    )
    created_at = datetime.fromtimestamp(now_ms / 1_000, UTC)
    return report.model_copy(update={"ranges": ranges, "findings": findings, "created_at": created_at})
