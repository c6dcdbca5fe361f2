"""History in windows of event time: the archive's rows and those that came behind it, of each identity the newest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from schemas.columns import empty_like, neutral, to_polars
from schemas.contract import Contract
from streams.archive.layout import SYSTEM
from streams.archive.newest import newest_rows
from streams.archive.pieces import next_width
from streams.archive.reader import ArchiveSnapshot, as_users_want
from streams.provider.stream_dealt import Dealt
from streams.provider.stream_order import SymbolOrder, nanoseconds_of
from streams.provider.stream_spill import Spill

__all__ = ["History", "Window", "in_columns_of_contract"]

_MOST_GROWTH = 4.0
_NARROWEST_NS = 1_000_000
# As the archive's reader: how far a correction may move a row of contracts in which event time is no part of identity.
_MOVED_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Rows from `start` up to and without `end`, ordered by event time, each identity once.

    Attributes:
        width: how wide the next window should be, nanoseconds.
    """

    rows: pl.DataFrame
    start: int
    end: int
    width: int


class History:
    """Goes through the rows of a snapshot and of a spill in the order of event time.

    Args:
        snapshot: None if there is no archive.
        dealt: rows that are left out.
        order: what was given before.
        start: event time to begin at, nanoseconds since the epoch; None for the first row there is.
        rows: about so many in a window.
    """

    def __init__(
        self,
        snapshot: ArchiveSnapshot | None,
        spill: Spill,
        contract: Contract,
        symbols: Collection[str] | None,
        dealt: Dealt,
        order: SymbolOrder,
        *,
        start: int | None,
        rows: int,
    ) -> None:
        self._snapshot, self._spill, self._contract = snapshot, spill, contract
        self._symbols, self._dealt, self._order, self._rows = symbols, dealt, order, rows
        self._margin = 0 if contract.event_time in contract.identity else _MOVED_NS
        self._empty = to_polars(empty_like(contract.columns), contract.record)
        self._archived = None if snapshot is None else snapshot.span()
        self._at = start
        self._width = 0

    @property
    def at(self) -> int | None:
        """Event time up to which everything was gone through, nanoseconds since the epoch; None before the first."""
        return self._at

    def read(self) -> Window | None:
        """Return the next window that has rows; None if there is none. The same again until `advance` was called.

        It changes nothing, so a call that hangs may be left behind.

        Raises:
            ArchiveUnavailable: if the storage does not answer.
        """
        begin, width, most = self._at, self._width, _MOST_GROWTH * self._rows
        while True:
            span = self._span(begin)
            if span is None:
                return None
            at = span[0] if begin is None else max(begin, span[0])
            width = width or self._first_width(span[1] - at)
            end = min(at + width, span[1] + 1)
            narrow = end - at <= _NARROWEST_NS
            waiting = self._spill.count(at, end)
            found = self._window(at, end) if narrow or waiting <= most else None
            height = waiting if found is None else found.height
            width = next_width(end - at, height, self._rows)
            if height > most and not narrow:
                continue
            if found is not None and found.height:
                return Window(found, at, end, width)
            begin = end

    def advance(self, window: Window) -> None:
        """Go on behind a window."""
        self._at, self._width = window.end, window.width
        self._spill.forget_before(window.end - self._margin)

    def _first_width(self, span: int) -> int:
        """Return how wide a window has about the wanted number of rows, if they are spread evenly."""
        archived = 0 if self._snapshot is None else int(self._snapshot.files["num_records"].sum())
        share = min(1.0, self._rows / max(1, archived + self._spill.rows))
        return max(_NARROWEST_NS, int((span + 1) * share))

    def _span(self, at: int | None) -> tuple[int, int] | None:
        """Return the first and the last event time of what is left, perhaps rounded outwards."""
        spans = [span for span in (self._archived, self._spill.span) if span is not None]
        if at is not None:
            spans = [(max(first, at), last) for first, last in spans if last >= at]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def _window(self, start: int, end: int) -> pl.DataFrame:
        first, behind = start - self._margin, end + self._margin
        waiting = self._spill.between(first, behind)
        in_archive = self._archived is not None and self._archived[0] < behind and self._archived[1] >= first
        if waiting is None and not self._dealt.concerns(start):
            if not in_archive or self._snapshot is None:
                return self._empty
            return self._mapped(self._snapshot.read(self._symbols, start, end).frame)
        parts = [] if waiting is None else [waiting]
        if in_archive and self._snapshot is not None:
            stored = self._snapshot.stored(self._symbols, first, behind)
            users = self._mapped(as_users_want(stored, self._snapshot.contract))
            parts.append(users.hstack(stored.select(list(SYSTEM))))
        if not parts:
            return self._empty
        rows = pl.concat(parts)
        ns = rows.select(nanoseconds_of(self._contract)).to_series()
        if self._dealt.concerns(start):
            keep = ~self._dealt.mask(rows, ns, self._order.fresh(rows))
            rows = rows.filter(keep)
        newest = newest_rows(rows, self._contract)
        inside = nanoseconds_of(self._contract)
        return newest.filter((inside >= start) & (inside < end))

    def _mapped(self, frame: pl.DataFrame) -> pl.DataFrame:
        return in_columns_of_contract(frame, self._contract, self._empty)


def in_columns_of_contract(frame: pl.DataFrame, contract: Contract, empty: pl.DataFrame) -> pl.DataFrame:
    """Return rows of any version of a contract in the columns of one, with defaults for those that they lack."""
    if frame.schema == empty.schema:
        return frame
    wanted = []
    for name, kind in empty.schema.items():
        if name in frame.columns:
            wanted.append(pl.col(name).cast(kind))
        else:
            field = contract.record.fields[name]
            wanted.append(pl.lit(None if field.nullable else neutral(field), kind).alias(name))
    return frame.select(wanted)
