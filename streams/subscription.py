"""Reading a dataset's normalized rows: committed rows only, as polars frames, from wherever the reader says.

A subscription assigns partitions itself and joins no group: its position is the reader's own, to be kept wherever the
reader keeps its results. What one subscription yields has one set of columns, those of the contract's newest version
when it began; rows written under another version are mapped to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.avro import AvroRecord, parse_record
from schemas.codec import Decoder
from schemas.columns import to_polars
from schemas.contract import Contract
from schemas.findings import Finding
from streams import topics
from streams.errors import SeamlessError, SettingsError
from streams.exact_rows import rows_of
from streams.normalizer_job import registered_contract
from streams.partition_reader import PartitionReader, Records, Start
from streams.partitioning import partitions_of
from streams.registry import Registry, UnknownSchemaId
from streams.settings import Settings, load_settings
from streams.versions import in_columns_of

__all__ = ["Subscription", "UnreadableRow", "subscribe"]

Ints = npt.NDArray[np.int64]


class UnreadableRow(SeamlessError):  # noqa: N818 - named for what was found
    """A record of a normalized topic cannot be read as its contract has it.

    Attributes:
        partition, offset: where it is.
    """

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        self.partition, self.offset = partition, offset
        super().__init__(
            f"{topic}, partition {partition}, offset {offset}: {reason}. Something other than the normalizer writes to "
            f"this topic, or the registry is another one. To go on behind it, subscribe from offset {offset + 1}."
        )


def subscribe(
    dataset: str,
    symbols: Collection[str] | None = None,
    from_: Literal["earliest", "latest"] | datetime | Mapping[int, int] = "earliest",
    settings: Settings | None = None,
    *,
    until_end: bool = False,
    batch_rows: int = 10_000,
    timeout: float | None = None,
) -> Subscription:
    """Subscribe to a dataset's normalized rows.

    Args:
        dataset: name of the dataset in the settings.
        symbols: only rows of these, read from only those partitions that can hold them; None for all.
        from_: `earliest`; `latest` (rows committed after this call); an aware datetime (rows whose raw record
            arrived at that moment or later; arrival, not event time, is what Kafka can look up); or the `position`
            of an earlier subscription, next offsets by partition.
        settings: read as `load_settings` does if not given.
        until_end: end after the rows that are committed at this moment, instead of waiting for more.
        batch_rows: most rows of one frame.
        timeout: seconds without a row after which the iteration ends; None waits for ever.

    Raises:
        SettingsError: if the dataset is not configured, or an argument makes no sense.
        RegistryError: if its contract is not registered, or the registry does not answer.
        BrokerError: if Kafka does not answer, the topic is not there, or an offset asked for is gone.
    """
    return Subscription(dataset, symbols, from_, settings, until_end=until_end, batch_rows=batch_rows, timeout=timeout)


class Subscription:
    """An iterator of frames, made by `subscribe`; a context manager. Not to be shared between threads.

    A frame has the contract's columns, `flags` included; event times are UTC datetimes of the contract's resolution.
    Rows of one symbol come in the order in which the normalizer wrote them. An error leaves the position where it
    was, so the next step tries the same records again.

    Attributes:
        contract: the version of the contract whose columns the rows have.
        partitions: the partitions that are read.
    """

    def __init__(
        self,
        dataset: str,
        symbols: Collection[str] | None,
        from_: Start,
        settings: Settings | None,
        *,
        until_end: bool,
        batch_rows: int,
        timeout: float | None,
    ) -> None:
        settings = settings if settings is not None else load_settings()
        settings.dataset(dataset)
        if isinstance(symbols, str) or (symbols is not None and not symbols):
            raise SettingsError("symbols is a list of at least one symbol, or None for all")
        if batch_rows < 1:
            raise SettingsError(f"batch_rows is {batch_rows}: ask for at least one row at a time")
        self.dataset, self.topic = dataset, topics.normalized(settings.world, dataset)
        self._symbols = None if symbols is None else sorted(set(symbols))
        self._timeout, self._batch_rows = timeout, batch_rows
        self._registry = Registry(settings.registry)
        self.contract = Contract.parse(registered_contract(self._registry, settings.world, dataset).schema)
        self._decoder = Decoder(self._resolve)
        self._reader = PartitionReader(settings, self.topic, self._chosen, from_, until_end=until_end)
        self.partitions = self._reader.partitions
        self._position = self._reader.start
        self._pending: Records | None = None

    # Reading

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self

    def __next__(self) -> pl.DataFrame:
        frame, _, _, after = self._next()
        self._position |= after
        return frame

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield single rows as dictionaries; `position` moves row by row.

        Times are aware datetimes; of contracts in nanoseconds, pandas Timestamps, which are datetimes that hold them.
        """
        exact = rows_of(self.contract)
        while True:
            try:
                frame, partitions, offsets, after = self._next()
            except StopIteration:
                return
            for row, partition, offset in zip(exact(frame), partitions.tolist(), offsets.tolist(), strict=True):
                self._position[partition] = offset + 1
                yield row
            self._position |= after

    @property
    def position(self) -> dict[int, int]:
        """The next offset of every partition read: behind everything that was yielded. A copy, fit for `from_`."""
        return dict(self._position)

    def explain(self, flags: int) -> list[Finding]:
        """Return what a row's `flags` say, in the order of their bits."""
        return self.contract.explain(flags)

    def close(self) -> None:
        """Let go of Kafka and the registry; the iteration is over."""
        self._reader.close()
        self._registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How

    def _chosen(self, count: int) -> list[int]:
        return list(range(count)) if self._symbols is None else partitions_of(self._symbols, count)

    def _next(self) -> tuple[pl.DataFrame, npt.NDArray[np.int32], Ints, dict[int, int]]:
        """Return rows, their coordinates, and the position after them; StopIteration at the end."""
        while True:
            records = self._pending or self._reader.read(self._batch_rows, self._timeout)
            if records is None:
                self._position |= self._reader.reached
                raise StopIteration
            self._pending = records
            batch = self._decode(records)
            self._pending = None
            partitions, offsets = records.partitions, records.offsets
            after = dict(zip(partitions.tolist(), (offsets + 1).tolist(), strict=True))
            kept = self._kept(batch)
            if kept is not None:
                batch, partitions, offsets = batch.take(pa.array(kept)), partitions[kept], offsets[kept]
            if batch.num_rows:
                return to_polars(batch, self.contract.record), partitions, offsets, after
            self._position |= after

    def _kept(self, batch: pa.RecordBatch) -> Ints | None:
        if self._symbols is None:
            return None
        wanted = pl.Series(batch.column(self.contract.key)).is_in(self._symbols)
        return None if wanted.all() else np.flatnonzero(wanted.to_numpy())

    def _decode(self, records: Records) -> pa.RecordBatch:
        decoded = self._decoder.decode(records.values)
        if decoded.failures:
            bad = min(decoded.failures, key=lambda f: f.row)
            where = int(records.partitions[bad.row]), int(records.offsets[bad.row])
            raise UnreadableRow(self.topic, *where, bad.detail)
        batches = [in_columns_of(self.contract, part) for part in decoded.parts]
        if len(batches) == 1:
            return batches[0]
        rows = np.concatenate([part.rows for part in decoded.parts if part.rows is not None])
        return pa.concat_batches(batches).take(pa.array(np.argsort(rows, kind="stable")))

    def _resolve(self, schema_id: int) -> AvroRecord | str:
        try:
            return parse_record(self._registry.schema_by_id(schema_id))
        except UnknownSchemaId as error:
            return str(error).rstrip(".")
