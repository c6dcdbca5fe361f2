"""Which rows a stream has dealt with already, by its position: so that going on repeats none. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from streams.archive.layout import OFFSET, PARTITION, TOPIC
from streams.provider.stream_position import StreamPosition

__all__ = ["Dealt", "below"]


def below(rows: pl.DataFrame, offsets: Mapping[str, Mapping[int, int]]) -> pl.Series:
    """Return which rows are below an offset of their partition; where none is named, none is.

    Args:
        rows: with the system's columns.
        offsets: by topic (`normalized`, `history`) and partition.
    """
    bounds = [(topic, partition, offset) for topic, parts in offsets.items() for partition, offset in parts.items()]
    known = pl.DataFrame(
        bounds, schema={TOPIC: pl.String, PARTITION: pl.Int32, "__bound": rows.schema[OFFSET]}, orient="row"
    )
    places = rows.select(TOPIC, PARTITION, OFFSET).join(known, on=[TOPIC, PARTITION], how="left", maintain_order="left")
    return places.select((pl.col(OFFSET) < pl.col("__bound")).fill_null(False)).to_series()


class Dealt:
    """Judges rows by the position that a stream began from; see `StreamPosition` for the rule."""

    def __init__(self, position: StreamPosition) -> None:
        self._since, self._taken = position.since, position.taken
        self._reached, self._last = position.reached, position.last

    @property
    def anything(self) -> bool:
        """Whether any row is dealt with."""
        return bool(self._since or self._taken)

    def concerns(self, start: int) -> bool:
        """Whether any row with an event time from `start` on may be dealt with."""
        return bool(self._since) or (self._reached is not None and bool(self._taken) and start <= self._reached)

    def mask(self, rows: pl.DataFrame, ns: pl.Series, fresh: pl.Series) -> pl.Series:
        """Return which rows are dealt with.

        Args:
            rows: with the system's columns.
            ns: their event times, nanoseconds since the epoch.
            fresh: which of them were not given, as far as the order of their symbols tells.
        """
        before = below(rows, self._since)
        if self._reached is None:
            return before
        given = (ns < self._reached) | ((ns == self._reached) & ~fresh)
        return before | (below(rows, self._taken) & given)
