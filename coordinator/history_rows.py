"""Records of history as an audit wants them: symbols, event times in nanoseconds, and identities."""

from __future__ import annotations

import numpy as np

from coordinator.audit import CheckedRows
from coordinator.written import WrittenRows
from schemas.avro import AvroRecord, parse_record
from schemas.codec import Decoder
from schemas.columns import numbers
from schemas.contract import Contract
from schemas.hashing import hash_rows
from schemas.mapping import map_columns
from streams.errors import ContractError
from streams.registry import Registry, UnknownSchemaId

__all__ = ["HistoryRows"]

_NANOS = 1_000_000_000


class HistoryRows:
    """Decodes the rows of one dataset, written under any version of its contract.

    Args:
        contract: whose identity rows are compared by.
    """

    def __init__(self, registry: Registry, contract: Contract) -> None:
        self._registry, self._contract = registry, contract
        self._decoder = Decoder(self._resolve)
        self._to_nanos = _NANOS // contract.time_units

    def check(self, rows: WrittenRows) -> CheckedRows:
        """Return the rows decoded; what cannot be is told by position.

        Raises:
            RegistryUnavailable: if the registry does not answer.
        """
        n, contract = len(rows.payloads), self._contract
        symbols, times = np.full(n, "", object), np.zeros(n, np.int64)
        identities = np.zeros(n, np.uint64)
        decoded = self._decoder.decode(rows.payloads)
        unreadable = {f.row: f.detail for f in decoded.failures}
        for part in decoded.parts:
            where = np.arange(n) if part.rows is None else part.rows
            try:
                batch = map_columns(contract, part.batch, part.raw, "UTC").batch
            except ContractError as error:
                unreadable |= dict.fromkeys(where.tolist(), str(error))
                continue
            symbols[where] = batch.column(contract.key).to_pylist()
            times[where] = numbers(batch.column(contract.event_time)).astype(np.int64) * self._to_nanos
            columns = [batch.column(name) for name in contract.identity]
            identities[where] = hash_rows(columns, np.arange(batch.num_rows))
        return CheckedRows(
            rows.keys, rows.payloads, rows.partitions, rows.offsets, symbols.tolist(), times, identities, unreadable
        )

    def _resolve(self, schema_id: int) -> AvroRecord | str:
        try:
            return parse_record(self._registry.schema_by_id(schema_id))
        except UnknownSchemaId as error:
            return str(error).rstrip(".")
