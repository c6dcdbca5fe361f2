"""A source of history around another one, which is slow, fails or corrupts rows: `faulty:OPTIONS|SPECIFICATION`.

It is no part of what an installation offers: `make_available` writes a folder in which it is installed, for whoever has
that on PYTHONPATH, so that no worker outside of tests ever has it. Options are those of `misbehaviour`, and:

    corrupt=0.1     share of the rows, 0 to 1, that lose a value which their contract wants
    seed=7          which rows these are; the same seed and place give the same rows
    healed=FILE     nothing is wrong any more, once there is that file
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa

from coordinator.source import ENTRY_POINTS, Source, SourceBatch, SourceContext, SourceError, open_source
from operations.testing.misbehaviour import Misbehaviour

__all__ = ["SCHEME", "FaultySource", "make_available", "open_faulty"]

SCHEME = "faulty"
_NAME = "seamless_faulty_sources"


class FaultySource:
    """Gives what another source gives, but for what is to go wrong: that does so with every batch until healed."""

    def __init__(self, inner: Source, options: dict[str, str]) -> None:
        self._inner, self._options = inner, options
        self._misbehaviour = Misbehaviour(options)
        self._corrupt, self._seed = float(options.get("corrupt", 0)), options.get("seed", "0")

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        """Return what the other source says."""
        return self._inner.estimate(symbols, start, end)

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        """Yield the other source's batches; raises what is to go wrong."""
        place = cursor
        batches = self._inner.fetch(symbols, start, end, cursor)
        while True:
            self._misbehaviour.begin_batch(place)
            if not self._healed():
                self._misbehaviour.go_wrong()
            batch = next(batches, None)
            if batch is None:
                return
            yield batch if self._healed() else self._spoilt(batch, f"{self._seed}/{sorted(symbols)}/{start}/{place}")
            place = batch.cursor

    def close(self) -> None:
        """Close the other source, and then as is to go wrong."""
        self._inner.close()
        if not self._healed():
            self._misbehaviour.close()

    def _healed(self) -> bool:
        return "healed" in self._options and Path(self._options["healed"]).exists()

    def _spoilt(self, batch: SourceBatch, place: str) -> Any:
        instead = self._misbehaviour.instead()
        if instead is not None:
            return SourceBatch(instead, batch.cursor) if isinstance(instead, pa.RecordBatch) else instead
        if not self._corrupt:
            return batch
        return SourceBatch(_corrupted(batch.rows, self._corrupt, Random(place)), batch.cursor)  # noqa: S311 - no secret


def _corrupted(rows: pa.RecordBatch, share: float, chance: Random) -> pa.RecordBatch:
    """Return rows of which some have lost a number: it is no number, or null where there are no fractions."""
    names = [f.name for f in rows.schema if pa.types.is_floating(f.type)] or [rows.schema.names[0]]
    lost = [chance.choice(names) if chance.random() < share else None for _ in range(rows.num_rows)]
    columns = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if field.name in names:
            nothing = float("nan") if pa.types.is_floating(field.type) else None
            values = [nothing if gone == field.name else v for gone, v in zip(lost, column.to_pylist(), strict=True)]
            column = pa.array(values, field.type)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def open_faulty(rest: str, context: SourceContext) -> FaultySource:
    """Return the source of `faulty:OPTIONS|SPECIFICATION`.

    Raises:
        SourceError: not retryable, if it has no such form, or what follows is no source.
    """
    options, bar, inner = rest.partition("|")
    if not bar:
        raise SourceError(
            f"{SCHEME}:{rest} names no source: write {SCHEME}:OPTIONS|SPECIFICATION, as in {SCHEME}:pace=1|files:*.csv",
            retryable=False,
        )
    return FaultySource(open_source(inner, context), dict(parse_qsl(options, strict_parsing=bool(options))))


def make_available(folder: Path) -> None:
    """Write into a folder what makes the source available to whoever has the folder on PYTHONPATH."""
    info = folder / f"{_NAME}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 1.0\n", "utf-8")
    info.joinpath("entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{SCHEME} = {__name__}:open_faulty\n", "utf-8")
