"""Archived rows and those that Kafka has behind them as one: of each identity the newest. Pure but for reading.

The rows are what the archive would give if it had them all: equal rows, equal order, equal fingerprint. Only the part
of the range that the tail's rows lie in is read again with where each row came from; the rest is taken as it is.
"""

from __future__ import annotations

import polars as pl

from schemas.columns import empty_like, to_polars
from schemas.contract import Contract
from streams.archive.layout import AS_OF, SYSTEM
from streams.archive.newest import newest_rows
from streams.archive.reader import ArchiveRows, ArchiveSnapshot, as_users_want
from streams.provider.stream_history import in_columns_of_contract
from streams.provider.stream_order import nanoseconds_of
from streams.provider.tail import Tail, Wanted

__all__ = ["MOVED_NS", "margin_of", "merged", "without_archive"]

# As the archive's reader: how far a correction may move a row of contracts in which event time is no part of identity.
MOVED_NS = 60_000_000_000


def margin_of(contract: Contract) -> int:
    """Return how far outside of a range, in nanoseconds, rows may matter that a newer one has moved."""
    return 0 if contract.event_time in contract.identity else MOVED_NS


def without_archive(tail: Tail, wanted: Wanted) -> ArchiveRows:
    """Return the rows of a tail alone."""
    return ArchiveRows(_inside(newest_rows(tail.frame, tail.contract), tail.contract, wanted), tail.contract,
                       tail.version)  # fmt: skip


def merged(snapshot: ArchiveSnapshot, archived: ArchiveRows, tail: Tail, wanted: Wanted) -> ArchiveRows:
    """Return the rows of a snapshot and of the tail behind it.

    Args:
        archived: what the snapshot has of `wanted`.

    Raises:
        ArchiveUnavailable: if the storage does not answer.
    """
    contract = tail.contract
    empty = to_polars(empty_like(contract.columns), contract.record)
    have = in_columns_of_contract(archived.frame, contract, empty)
    if not tail.frame.height:
        return ArchiveRows(have, contract, tail.version)
    time, margin = nanoseconds_of(contract), margin_of(contract)
    first, last = tail.frame.select(time.min().alias("first"), time.max().alias("last")).row(0)
    # A row that moved into or out of the tail's part must be inside of what is read again.
    first, last = first - 2 * margin, last + 2 * margin
    stored = snapshot.stored(wanted.symbols, first, last + 1)
    if wanted.as_of is not None:
        stored = stored.filter(pl.col(AS_OF) <= wanted.as_of)
    users = in_columns_of_contract(as_users_want(stored, snapshot.contract), contract, empty)
    both = pl.concat([users.hstack(stored.select(list(SYSTEM))), tail.frame])
    middle = _inside(newest_rows(both, contract), contract, wanted).filter(time >= first, time <= last)
    parts = [have.filter(time < first), middle, have.filter(time > last)]
    return ArchiveRows(pl.concat([part for part in parts if part.height] or [empty]), contract, tail.version)


def _inside(frame: pl.DataFrame, contract: Contract, wanted: Wanted) -> pl.DataFrame:
    time = nanoseconds_of(contract)
    return frame.filter(time >= wanted.start, time < wanted.end)
