"""Whether shards tile what was asked for: nothing twice, nothing beyond, and what is left out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.certificate import LeftOut
from coordinator.ranges import Range, normalised, subtracted
from coordinator.shards import Job, Shard

__all__ = ["left_out", "overlaps", "strays"]

Piece = tuple[int, int, str]


def overlaps(shards: Iterable[Shard]) -> list[tuple[str, str, str]]:
    """Return pairs of shards that fetch the same of a symbol, as (symbol, id, id); neighbours touch and do not."""
    found = []
    for symbol, pieces in _by_symbol(shards).items():
        reach, owner = pieces[0][1], pieces[0][2]
        for start, end, shard in pieces[1:]:
            if start < reach:
                found.append((symbol, owner, shard))
            if end > reach:
                reach, owner = end, shard
    return found


def strays(job: Job, shards: Iterable[Shard]) -> list[str]:
    """Return the ids of shards that fetch nothing of what was asked for.

    One may fetch more than that: another job's, or one whose borders were moved so as not to cut a bar.
    """
    symbols = set(job.symbols)
    return [
        shard.id
        for shard in shards
        if shard.dataset != job.dataset
        or shard.end <= job.start
        or shard.start >= job.end
        or symbols.isdisjoint(shard.symbols)
    ]


def left_out(job: Job, shards: Iterable[Shard]) -> list[LeftOut]:
    """Return what of the request no shard fetches, symbol by symbol."""
    asked, pieces = (Range(job.start, job.end),), _by_symbol(shards)
    return [
        LeftOut(symbol, hole.start, hole.end)
        for symbol in job.symbols
        for hole in subtracted(asked, normalised(Range(start, end) for start, end, _ in pieces.get(symbol, ())))
    ]


def _by_symbol(shards: Iterable[Shard]) -> dict[str, list[Piece]]:
    pieces: dict[str, list[Piece]] = {}
    for shard in shards:
        for symbol in shard.symbols:
            pieces.setdefault(symbol, []).append((shard.start, shard.end, shard.id))
    for each in pieces.values():
        each.sort()
    return pieces
