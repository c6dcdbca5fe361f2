"""What is lost, doubled or out of order among the rows, endings and offsets that a model of the broker holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from coordinator.cursor import Cursor
from coordinator.shards import Shard, ShardState
from tests.support.group_model import GroupModel

__all__ = ["wrongs"]

Thing = TypeVar("Thing")


def wrongs(group: GroupModel) -> list[str]:
    """Return what is wrong, each as a sentence.

    Rows of a shard are there once and in order. Below the committed offset, every shard has ended once and has all its
    rows, unless it was cancelled; at it, a shard has as many as the cursor tells of; above it, none.
    """
    found = [f"row {row.number} of {row.shard} is there {n} times" for row, n in _repeated(group.history)]
    found += [f"{shard} ended {n} times" for shard, n in _repeated(e.shard for e in group.endings)]
    ended = {(e.place, e.offset): e.state for e in group.endings}
    rows: dict[str, list[int]] = {}
    for row in group.history:
        rows.setdefault(row.shard, []).append(row.number)
    for place, queue in group.queues.items():
        committed, metadata = group.committed(place, stable=False)
        for offset, shard in queue.items():
            state, written = ended.get((place, offset)), list(dict.fromkeys(rows.get(shard.id, ())))
            if written != list(range(len(written))):
                found.append(f"rows of {shard.id} are not in order: {written}")
            found += _wrong_at(shard, offset - committed, metadata, state, len(written))
    return found


def _repeated(things: Iterable[Thing]) -> list[tuple[Thing, int]]:
    return [(thing, n) for thing, n in Counter(things).items() if n > 1]


def _wrong_at(shard: Shard, ahead: int, metadata: str, state: ShardState | None, written: int) -> list[str]:
    """Judge one shard: `ahead` is how far its offset is from the committed one."""
    whole = shard.estimated_rows
    if ahead < 0:
        if state is None:
            return [f"{shard.id} was skipped with {written} of {whole} rows"]
        if state is ShardState.DONE and written != whole:
            return [f"{shard.id} is done with {written} of {whole} rows"]
        return [] if state in (ShardState.DONE, ShardState.CANCELLED) else [f"{shard.id} ended {state.value}"]
    if state is not None:
        return [f"{shard.id} ended {state.value}, and its offset is not committed"]
    told = Cursor.decode(metadata).rows if ahead == 0 and metadata else 0
    return [] if written == told else [f"{shard.id} has {written} rows, and its cursor tells of {told}"]
