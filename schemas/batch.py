"""What goes into conformance and what comes out: parts of a batch, their origin, failures, rejects and the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.avro import AvroRecord
from schemas.columns import to_polars
from schemas.contract import Contract
from schemas.keystate import StateDelta
from schemas.report import ConformanceReport

__all__ = ["ConformanceResult", "Failure", "Origin", "Part", "Reason", "Rejected"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a batch that share a raw schema.

    Attributes:
        batch: the raw columns.
        raw: their Avro record, or None where the frame's own types tell all.
        rows: positions of these rows in the batch, in any order; None if they are the whole batch.
    """

    batch: pa.RecordBatch
    raw: AvroRecord | None = None
    rows: Ints | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a batch came from; arrays of one length.

    Attributes:
        partitions, offsets: coordinates of each row in the raw topic (or file).
        timestamps_ms: gives the record timestamps, which stand in for unreadable event times in shadow mode; or None.
            It is called only where one is needed, as it costs a pass over the records.
        replayed: tells which rows somebody sent again after a fix; called as rarely; or None.
        replayed: tells which rows somebody sent again after a fix, and is called as rarely; or None.
    """

    partitions: npt.NDArray[np.int32]
    offsets: Ints
    timestamps_ms: Callable[[], Ints] | None = None
    replayed: Callable[[], npt.NDArray[np.bool_]] | None = None

    @classmethod
    def of_file(cls, n: int) -> Origin:
        """The origin of `n` rows of a file: partition 0, offset = row number from 0."""
        return cls(np.zeros(n, np.int32), np.arange(n, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that could not become columns: `undecodable`, `unknown_schema` or `incompatible_schema`."""

    row: int
    flag: str
    detail: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One violation of a rejected row."""

    flag: str
    column: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that does not pass, by its position in the batch, with every reason."""

    row: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class ConformanceResult:
    """The outcome of one batch.

    Attributes:
        batch: accepted rows as plain contract columns, in arrival order.
        rows: positions of the accepted rows in the batch; None if every row was accepted.
        rejected: rows that did not pass, by position.
        dropped: positions of duplicates that were dropped.
        delta: new states of the keys touched; `states.apply(delta)` makes them current.
        report: counts and places.
    """

    batch: pa.RecordBatch
    rows: Ints | None
    rejected: list[Rejected]
    dropped: Ints
    delta: StateDelta
    report: ConformanceReport
    contract: Contract = field(repr=False)

    @cached_property
    def accepted(self) -> pl.DataFrame:
        """Accepted rows as a polars frame; event times are UTC datetimes of the contract's resolution."""
        return to_polars(self.batch, self.contract.record)
