"""Whether a table holds each record of a partition once, and every record up to where it says it has come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streams.archive.layout import Borders, Source

__all__ = ["SourceProof", "prove"]

Ints = npt.NDArray[np.int64]
_NAMED = 5


@dataclass(frozen=True, slots=True)
class SourceProof:
    """What was found about one partition.

    Attributes:
        position: the offset up to which the table says it holds everything; None if it has nothing of the partition.
        rows: of the partition in the table.
        checked: how many of them the topic still has, and were compared with it.
        behind: how many records the topic has that the table has yet to take.
        problems: what is wrong, in words; nothing if all is well.
    """

    source: Source
    position: int | None
    rows: int
    checked: int
    behind: int
    problems: tuple[str, ...] = field(default=())

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def prove(source: Source, position: int | None, held: Ints, borders: Borders, committed: Ints) -> SourceProof:
    """Compare a partition's offsets in the table with those of its topic.

    Args:
        held: offsets of the table's rows, in any order, with whatever is there twice.
        borders: what the topic still has.
        committed: offsets of the topic's committed records, rising.
    """
    problems = []
    known, counts = np.unique(held, return_counts=True)
    twice = known[counts > 1]
    if len(twice):
        problems.append(f"{len(twice):,} offsets are there more than once: {_few(twice)}")
    reached = position if position is not None else 0
    beyond = known[known >= reached]
    if len(beyond):
        problems.append(f"{len(beyond):,} rows are behind the position {position}: {_few(beyond)}")
    if position is not None and position < borders.oldest:
        problems.append(f"retention has deleted offsets {position} to {borders.oldest - 1} before they were archived")
    if position is not None and position > borders.end:
        problems.append(f"the topic ends at {borders.end}, before the table's position {position}: it was made anew")
    due = committed[committed < reached]
    lost = np.setdiff1d(due, known, assume_unique=True)
    if len(lost):
        problems.append(f"{len(lost):,} committed records are not in the table: {_few(lost)}")
    there = known[(known >= borders.oldest) & (known < reached)]
    strange = np.setdiff1d(there, committed, assume_unique=True)
    if len(strange):
        problems.append(f"{len(strange):,} rows are of no committed record: {_few(strange)}")
    return SourceProof(source, position, len(held), len(due), len(committed) - len(due), tuple(problems))


def _few(offsets: Ints) -> str:
    shown = ", ".join(str(o) for o in offsets[:_NAMED].tolist())
    return shown if len(offsets) <= _NAMED else f"{shown}, ..."
