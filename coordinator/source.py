"""What a source of history must do; users add theirs under the entry point group `seamless.sources`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

import pyarrow as pa

from schemas.avro import AvroRecord
from schemas.contract import Contract
from streams.errors import SeamlessError
from streams.registry import Registry
from streams.settings import DatasetSettings, Settings

__all__ = [
    "ENTRY_POINTS",
    "Source",
    "SourceBatch",
    "SourceContext",
    "SourceError",
    "SourceFactory",
    "open_source",
    "source_names",
]

ENTRY_POINTS = "seamless.sources"


class SourceError(SeamlessError):
    """A source cannot give what it was asked for.

    Attributes:
        retryable: whether the same request may succeed later.
        retry_after_s: how long the source asked to be left alone, in seconds; an hour is granted at most.
    """

    def __init__(self, message: str, *, retryable: bool = True, retry_after_s: float | None = None) -> None:
        self.retryable, self.retry_after_s = retryable, retry_after_s
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Rows and the place after them.

    Attributes:
        rows: raw rows, in columns that the contract can conform (its names or aliases, its types or castable ones).
        cursor: given to `fetch`, it goes on after these rows. At most 2,000 ASCII characters.
        schema: the rows' Avro record, if they were Avro; None where the columns' own types tell all.
    """

    rows: pa.RecordBatch
    cursor: str
    schema: AvroRecord | None = None


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may know of its surroundings."""

    settings: Settings
    dataset: str
    wanted: DatasetSettings
    contract: Contract
    registry: Registry


class Source(Protocol):
    """Fetches history; one object serves one shard, on one thread."""

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        """Return about how many rows a range holds; `start` and `end` are nanoseconds since the epoch.

        Raises:
            SourceError: if it cannot be told.
        """
        ...

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        """Yield the rows of symbols with start <= event time < end that follow the cursor, oldest first.

        The same arguments give the same batches: a chunk that is done again must come out the same. A batch is small
        enough to hold in memory (tens of thousands of rows).

        Raises:
            SourceError: if they cannot be had.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class SourceFactory(Protocol):
    """What an entry point names: makes a source from what follows the colon of its specification."""

    def __call__(self, rest: str, context: SourceContext) -> Source: ...


def source_names() -> list[str]:
    """Return the schemes that are installed."""
    return sorted(point.name for point in entry_points(group=ENTRY_POINTS))


def open_source(specification: str, context: SourceContext) -> Source:
    """Return the source of `scheme:rest`.

    Raises:
        SourceError: not retryable, if no such scheme is installed or the rest makes no sense to it.
    """
    scheme, colon, rest = specification.partition(":")
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == scheme and (colon or not rest):
            factory: Any = point.load()
            source: Source = factory(rest, context)
            return source
    raise SourceError(
        f"the source {specification!r} has no scheme that is installed ({', '.join(source_names()) or 'none'}): "
        "write scheme:what, as in files:bars/*.parquet",
        retryable=False,
    )
