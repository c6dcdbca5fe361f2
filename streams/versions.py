"""Rows of any version of a contract in the columns of one."""

from __future__ import annotations

import pyarrow as pa

from schemas.conformance import Part
from schemas.contract import Contract
from schemas.mapping import map_columns

__all__ = ["in_columns_of"]


def in_columns_of(contract: Contract, part: Part) -> pa.RecordBatch:
    """Return normalized rows of any version as the contract's, with the flags that the normalizer wrote.

    Mapping is made for raw rows, whose flags mean nothing yet, so it promises nothing about them.

    Raises:
        ContractError: if the rows cannot be mapped to the contract at all.
    """
    if part.raw is None or part.raw.schema == contract.schema:
        return part.batch
    mapped = map_columns(contract, part.batch, part.raw, "UTC").batch
    flags = contract.flags
    if flags not in part.batch.schema.names:
        return mapped
    index = mapped.schema.get_field_index(flags)
    return mapped.set_column(index, mapped.schema.field(index), part.batch[flags])
