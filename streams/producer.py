"""The governed producer: frames into a dataset's raw topic, under the registered schema and judged by the contract.

It never registers a schema: what may be written was decided by `seamless schema register`, and a process that writes
data has no say in it. Nothing of a frame is sent before all of it was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.avro import AvroRecord, parse_record
from schemas.codec import Encoder
from schemas.coerce import FrameLike, coerce, table_of_row
from schemas.conformance import ConformancePipeline, ConformanceResult, Origin, Part, Rejected
from schemas.contract import Contract
from schemas.mapping import admissible
from schemas.report import ConformanceReport
from streams import topics
from streams.clients import producer_config
from streams.clock import now
from streams.delivery import Delivery, DeliveryFailed, DeliveryFailure
from streams.errors import BrokerError, ContractError, RegistryError, SeamlessError
from streams.log import get_logger
from streams.normalizer_job import earlier_contracts, registered_contract
from streams.producer_governance import ProducerGovernance
from streams.registry import RegisteredSchema, Registry
from streams.schema_checks import exceptions_of, source_of
from streams.settings import Settings, load_settings

__all__ = ["Counts", "DeliveryFailed", "DeliveryFailure", "GovernedProducer", "ProduceRefused", "Sent"]

OnViolation = Literal["refuse", "warn"]

# Repairs that a raw schema calls for in every row; worth counting, not worth a line of log per frame.
_ROUTINE = {"dtype_cast", "ts_cast", "ts_timezone_normalized", "missing_column"}

log = get_logger("producer")


class ProduceRefused(SeamlessError):  # noqa: N818 - named for what happened to the frame
    """Rows break the contract, so nothing of their frame was sent.

    Attributes:
        report: what was found in the whole frame; places are `0:n` for row n of all rows checked so far.
        rejected: the rows that break it, by their position in the frame, with every reason.
    """

    def __init__(self, report: ConformanceReport, rejected: list[Rejected]) -> None:
        self.report, self.rejected = report, rejected
        shown = "; ".join(
            f"row {r.row}: " + ", ".join(f"{x.flag} ({x.column or x.detail})" for x in r.reasons) for r in rejected[:3]
        )
        more = f"; and {len(rejected) - 3:,} more" if len(rejected) > 3 else ""
        super().__init__(
            f"{len(rejected):,} of {report.rows_in:,} rows break the contract {report.contract}, so none was sent: "
            f'{shown}{more}. Mend the rows, or send them flagged with on_violation="warn".'
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one frame: how many rows were handed over, and what was found in them."""

    rows: int
    report: ConformanceReport


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows since the start: `sent = delivered + failed + waiting`; refused rows were never sent."""

    sent: int
    delivered: int
    failed: int
    waiting: int
    refused: int


class GovernedProducer:
    """Writes rows of one dataset; a context manager. Not to be shared between threads.

    Args:
        dataset: name of the dataset in the settings.
        settings: read as `load_settings` does if not given.
        name: what this producer is called in Kafka's and our own logs.
        on_violation: `refuse` (nothing of a frame with a violation is sent) or `warn` (it is sent and logged; the
            normalizer will flag or quarantine it); the settings' choice if not given.
        on_error: is called with every record that Kafka did not take, from within `send`, `flush` and `close`.

    Raises:
        SettingsError: if the dataset is not configured.
        RegistryError: if the raw schema or the contract is not registered, or the registry does not answer.
        ContractError: if the registered raw schema cannot be conformed to the contract, holds nested values, or is
            refused by the schema mode of the dataset (see docs/governance.md).
        BrokerError: if Kafka does not answer, or the topic is not there.
    """

    def __init__(
        self,
        dataset: str,
        settings: Settings | None = None,
        *,
        name: str | None = None,
        on_violation: OnViolation | None = None,
        on_error: Callable[[DeliveryFailure], None] | None = None,
    ) -> None:
        settings = settings if settings is not None else load_settings()
        wanted = settings.dataset(dataset)
        self.dataset, self.name = dataset, name or f"{settings.world}.producer.{dataset}"
        self.topic = topics.raw(settings.world, dataset)
        self.on_violation: OnViolation = on_violation or settings.producer.on_violation
        self._registry = registry = Registry(settings.registry)
        raw = _raw_schema(registry, self.topic)
        registered = registered_contract(registry, settings.world, dataset)
        self.contract = Contract.parse(registered.schema)
        self.schema: AvroRecord = parse_record(raw.schema)
        self._key = _key_column(self.contract, self.schema, self.topic)
        self.timezone = wanted.timezone
        self._encoder = Encoder(self.schema, raw.id)
        self._pipeline = ConformancePipeline(
            self.contract,
            "blocking",
            dataset=dataset,
            world=settings.world,
            interval_ns=wanted.interval_ns(),
            calendar=wanted.calendar,
            lateness_ns=wanted.lateness_ns(),
            memory=settings.conformance.memory,
            timezone=wanted.timezone,
            version=registered.version,
            earlier=earlier_contracts(registry, registered),
        )
        self._states = self._pipeline.new_states()
        self._exceptions = exceptions_of(settings)
        self._refused = 0
        self._closed = False
        producing = settings.producer
        config = producer_config(settings, linger_ms=producing.linger_ms, compression=producing.compression)
        self._delivery = Delivery({**config, "client.id": self.name}, self.topic, on_error)
        self._governance = ProducerGovernance(settings, dataset, self.name, registry, raw, self.contract)

    # Sending

    def send(self, frame: FrameLike) -> Sent:
        """Check a frame of raw rows (polars, pandas or pyarrow) and hand it over for delivery.

        Its columns are those of the raw schema; see `schemas.coerce.coerce` for what is accepted. Order, gaps and
        duplicates are judged against the rows sent before, and are warnings unless the contract says otherwise. While
        the queue of undelivered records is full this waits.

        Raises:
            FrameError: naming the columns that do not fit the schema.
            ProduceRefused: if rows break the contract (see `on_violation`).
            ContractError: if the schema mode of the dataset was changed, and now refuses the producer's schema.
            BrokerError: if the producer can send no more.
        """
        if self._closed:
            raise BrokerError(f"the producer of {self.dataset} is closed: make a new one")
        self._governance.check()
        batch = coerce(frame, self.schema, self.timezone)
        result = self._judge(batch)
        if result.rejected and self.on_violation == "refuse":
            self._refused += batch.num_rows
            raise ProduceRefused(result.report, result.rejected)
        # Encoded before the first is sent, so that a value that no encoding holds stops the frame as a whole.
        payloads = self._encode(batch)
        self._delivery.send(payloads, self._keys(batch), self._governance.headers)
        self._states.apply(result.delta)
        self._tell(result.report)
        return Sent(batch.num_rows, result.report)

    def send_row(self, row: Mapping[str, Any]) -> Sent:
        """Do with one row as `send` does with a frame; a frame of many rows is far cheaper per row."""
        return self.send(table_of_row(row))

    def check(self, frame: FrameLike) -> ConformanceReport:
        """Return what `send` would find in a frame; nothing is sent or remembered.

        Raises:
            FrameError: naming the columns that do not fit the schema.
            ProduceRefused: if `send` would refuse the frame.
        """
        result = self._judge(coerce(frame, self.schema, self.timezone))
        if result.rejected and self.on_violation == "refuse":
            raise ProduceRefused(result.report, result.rejected)
        return result.report

    # The end

    @property
    def counts(self) -> Counts:
        """What became of the rows so far."""
        sent, failed, waiting = self._delivery.sent, self._delivery.failed, self._delivery.waiting
        return Counts(sent, sent - failed - waiting, failed, waiting, self._refused)

    def flush(self, timeout: float | None = None) -> Counts:
        """Wait until every record was delivered or has failed, at most `timeout` seconds; None waits for the end.

        Raises:
            DeliveryFailed: if records failed since this was last said, or are still waiting.
        """
        self._delivery.flush(timeout)
        return self.counts

    def close(self, timeout: float | None = None) -> Counts:
        """Flush, and send no more; a second call does nothing. Raises DeliveryFailed as `flush` does."""
        if self._closed:
            return self.counts
        self._closed = True
        self._governance.close()
        self._registry.close()
        return self.flush(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except DeliveryFailed as failed:
            if error is None:
                raise
            log.error("delivery_failed", dataset=self.dataset, error=str(failed))

    # How

    def _judge(self, batch: pa.RecordBatch) -> ConformanceResult:
        n = batch.num_rows
        origin = Origin(np.zeros(n, np.int32), np.arange(n, dtype=np.int64) + self._delivery.sent)
        excepted = self._exceptions.active(self.dataset, now().date())
        return self._pipeline.run([Part(batch, self.schema)], self._states, origin=origin, excepted=excepted)

    def _encode(self, batch: pa.RecordBatch) -> list[bytes]:
        try:
            return self._encoder.encode(batch)
        except (ValueError, TypeError, OverflowError) as error:
            raise SeamlessError(
                f"rows of {self.dataset} cannot be written as {self.schema.name}: {error}. Check values of type fixed "
                "and decimal, whose size the schema fixes."
            ) from error

    def _keys(self, batch: pa.RecordBatch) -> list[bytes | None]:
        keys = pl.Series(batch.column(self._key)).cast(pl.String, strict=False)
        found: list[bytes | None] = keys.cast(pl.Binary).to_list()
        return found

    def _tell(self, report: ConformanceReport) -> None:
        found = {
            f"{f.flag}:{f.column}" if f.column else f.flag: f.count for f in report.findings if f.flag not in _ROUTINE
        }
        if found:
            log.warning("rows_flagged", dataset=self.dataset, rows=report.rows_in, findings=found)


def _raw_schema(registry: Registry, topic: str) -> RegisteredSchema:
    found = registry.latest(topics.subject(topic))
    if found is None:
        raise RegistryError(
            f"no schema is registered under {topics.subject(topic)}, and a producer registers none: "
            "run `seamless schema register`"
        )
    return found


def _key_column(contract: Contract, raw: AvroRecord, topic: str) -> str:
    """Return the raw column that becomes the contract's key, having made sure that the contract can take the rest."""
    reasons = admissible(contract, raw)
    reasons += [
        f"field {f.name}: nested values cannot be columns: flatten it"
        for f in raw.fields.values()
        if f.type == "complex"
    ]
    if reasons:
        raise ContractError(
            f"the schema registered for {topic} does not fit the contract {contract.name}: {'; '.join(reasons)}. "
            "Register one that does: `seamless schema register`"
        )
    key = source_of(contract.record.fields[contract.key], raw.fields)
    if key is None:  # never, as an admissible schema has every field that has no default
        raise ContractError(f"the schema registered for {topic} has no column for the key {contract.key}")
    return key
