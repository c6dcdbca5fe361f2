"""Records of a dataset's topics as rows of its table: decoded, in the newest columns, each with where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.avro import AvroRecord, parse_record
from schemas.codec import Decoder
from schemas.conformance import Failure
from schemas.contract import Contract
from streams import topics
from streams.archive.layout import AS_OF, HISTORY, NORMALIZED, OFFSET, PARTITION, SYSTEM, TOPIC, VERSION
from streams.log import get_logger
from streams.normalizer_job import registered_contract
from streams.raw_batch import RawBatch
from streams.registry import Registry, UnknownSchemaId
from streams.versions import in_columns_of

__all__ = ["AS_OF_HEADER", "RowDecoder", "Undecodable"]

log = get_logger(__name__)

AS_OF_HEADER = "as_of"
Ints = npt.NDArray[np.int64]


class Undecodable(Exception):  # noqa: N818 - a fact about a record
    """A record is no row of the dataset; says which one and why."""


class RowDecoder:
    """Decodes the records of one dataset, whichever version of the contract they were written under.

    Args:
        fixed: a version of the contract whose columns all rows are given; unset for the newest.

    Attributes:
        contract, version: that version, or the newest that is known, which is asked for again when a schema turns up
            that was not seen before.
    """

    def __init__(
        self, registry: Registry, world: str, dataset: str, *, fixed: tuple[Contract, int] | None = None
    ) -> None:
        self._registry, self._world, self._dataset = registry, world, dataset
        self._subject = topics.subject(topics.normalized(world, dataset))
        self._history = topics.history(world, dataset)
        self._decoder = Decoder(self._resolve)
        self._versions: list[tuple[AvroRecord, int]] = []
        self._as_of: dict[bytes, int] = {}
        self._fixed = fixed is not None
        if fixed is not None:
            self.contract, self.version = fixed
        else:
            self._learn()

    def decode(self, topic: str, batch: RawBatch, *, leave_out: bool = False) -> pa.Table:
        """Return the rows of a batch in its order: the contract's plain columns, then the system's.

        Args:
            leave_out: whether records that are no rows are left out (and logged) instead of refused.

        Raises:
            Undecodable: if a record is none of the dataset's; nothing is returned then.
            RegistryUnavailable: if a schema is not known yet and the registry does not answer.
        """
        decoded = self._decoder.decode(batch.payloads())
        if decoded.failures:
            _judge(topic, batch, decoded.failures, leave_out)
            bad = [f.row for f in decoded.failures]
            batch = batch.only(np.setdiff1d(np.arange(len(batch.messages)), bad))
            decoded = self._decoder.decode(batch.payloads())
        n = len(batch.messages)
        versions = np.zeros(n, np.int32)
        parts, places = [], []
        for part in decoded.parts:
            rows = np.arange(n) if part.rows is None else part.rows
            versions[rows] = self._version(part.raw)
            parts.append(in_columns_of(self.contract, part))
            places.append(rows)
        table = pa.Table.from_batches(parts, schema=self.contract.columns)
        if len(parts) > 1:
            table = table.take(pa.array(np.argsort(np.concatenate(places), kind="stable")))
        is_history = topic == self._history
        known = self._known_at(batch) if is_history else batch.timestamps_ms()
        system: dict[str, Any] = {
            AS_OF: known,
            TOPIC: pa.repeat(pa.scalar(HISTORY if is_history else NORMALIZED), n),
            PARTITION: batch.partitions,
            OFFSET: batch.offsets,
            VERSION: versions,
        }
        for name, values in system.items():
            table = table.append_column(pa.field(name, SYSTEM[name]), pa.array(values, SYSTEM[name]))
        return table

    def _known_at(self, batch: RawBatch) -> Ints:
        """Return the moment whose knowledge each row of history is, as its header says."""
        arrived = batch.timestamps_ms()
        found = [self._moment(message.headers()) for message in batch.messages]
        return np.array([a if m is None else m for m, a in zip(found, arrived.tolist(), strict=True)], np.int64)

    def _moment(self, headers: Any) -> int | None:
        pairs: Sequence[tuple[str, Any]] = list(headers.items()) if isinstance(headers, dict) else headers or []
        for name, value in pairs:
            if name == AS_OF_HEADER and isinstance(value, bytes):
                known = self._as_of.get(value)
                if known is None and value.isdigit():
                    if len(self._as_of) > 10_000:
                        self._as_of.clear()
                    known = self._as_of[value] = int(value)
                return known
        return None

    def _resolve(self, schema_id: int) -> AvroRecord | str:
        try:
            schema = self._registry.schema_by_id(schema_id)
        except UnknownSchemaId as error:
            return str(error).rstrip(".")
        found = self._registry.lookup(self._subject, schema)
        if found is None:
            return f"incompatible schema id {schema_id}: it is no version of the contract under {self._subject}"
        record = parse_record(schema)
        self._versions.append((record, found.version))
        if found.version > self.version and not self._fixed:
            self._learn()
        return record

    def _version(self, record: AvroRecord | None) -> int:
        return next((version for known, version in self._versions if known is record), 0)

    def _learn(self) -> None:
        newest = registered_contract(self._registry, self._world, self._dataset)
        self.contract, self.version = Contract.parse(newest.schema), newest.version


def _judge(topic: str, batch: RawBatch, failures: Sequence[Failure], leave_out: bool) -> None:
    """Log records that are no rows, or refuse the first of them."""
    for failure in sorted(failures, key=lambda f: f.row):
        partition, offset = int(batch.partitions[failure.row]), int(batch.offsets[failure.row])
        reason = failure.detail or failure.flag
        if not leave_out:
            raise Undecodable(f"partition {partition}, offset {offset}: {reason}")
        log.warning("row_left_out", topic=topic, partition=partition, offset=offset, reason=reason)
