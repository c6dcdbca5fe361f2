"""What conformance remembers of each key: its newest event time and the identities of its last rows.

One table of arrays holds all keys, so that a batch reads and writes them at once. The remembered rows of a key form a
ring: row number `r` of the key (counted from its first) stands in slot `r % memory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NEVER", "KeyRecord", "KeyStates", "StateDelta"]

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

NEVER = np.iinfo(np.int64).min
_FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The state of one key as it is stored.

    Attributes:
        partition: the raw partition that the key's rows come from.
        newest: the greatest event time, in the contract's units.
        rows: how many rows of the key have been counted.
        identities, contents: hashes of the last rows, oldest first; at most `memory` of them.
    """

    partition: int
    key: str
    newest: int
    rows: int
    identities: Hashes
    contents: Hashes


@dataclass(frozen=True, slots=True)
class StateDelta:
    """New values of the keys that a batch touched; `slots` are their places in the table."""

    slots: Ints
    newest: Ints
    rows: Ints
    identities: Hashes
    contents: Hashes


class KeyStates:
    """The states of all keys.

    Args:
        memory: rows remembered per key; at least one.

    Raises:
        ValueError: if there is no memory.
    """

    def __init__(self, memory: int) -> None:
        if memory < 1:
            raise ValueError(f"a key must remember at least one row, not {memory}")
        self.memory = memory
        self._slots: dict[tuple[int, str], int] = {}
        self._keys: list[tuple[int, str]] = []
        self.newest: Ints = np.full(_FIRST_CAPACITY, NEVER, np.int64)
        self.rows: Ints = np.zeros(_FIRST_CAPACITY, np.int64)
        self.identities: Hashes = np.zeros((_FIRST_CAPACITY, memory), np.uint64)
        self.contents: Hashes = np.zeros((_FIRST_CAPACITY, memory), np.uint64)

    def __len__(self) -> int:
        return len(self._keys)

    def slots(self, partitions: Sequence[int], keys: Sequence[str]) -> Ints:
        """Return the places of keys in the table, making empty states for new ones."""
        found = np.empty(len(keys), np.int64)
        for i, pair in enumerate(zip(partitions, keys, strict=True)):
            slot = self._slots.get(pair)
            if slot is None:
                slot = self._slots[pair] = len(self._keys)
                self._keys.append(pair)
            found[i] = slot
        self._grow(len(self._keys))
        return found

    def apply(self, delta: StateDelta) -> StateDelta:
        """Put new values in place and return the old ones, which undo the change when applied."""
        before = self.read(delta.slots)
        self.newest[delta.slots] = delta.newest
        self.rows[delta.slots] = delta.rows
        self.identities[delta.slots] = delta.identities
        self.contents[delta.slots] = delta.contents
        return before

    def records(self, delta: StateDelta) -> list[KeyRecord]:
        """Return what to store of the keys that a delta touches, with the delta's values."""
        return [self._record(i, int(slot), delta) for i, slot in enumerate(delta.slots)]

    def all_records(self) -> list[KeyRecord]:
        """Return what to store of every key, in the order in which the keys came."""
        return self.records(self.read(np.arange(len(self._keys))))

    def restore(self, records: Iterable[KeyRecord]) -> None:
        """Put stored states in place; a memory of another size keeps the newest rows that fit."""
        for record in records:
            slot = int(self.slots([record.partition], [record.key])[0])
            kept = min(len(record.identities), self.memory)
            ring = np.arange(record.rows - kept, record.rows) % self.memory
            self.newest[slot], self.rows[slot] = record.newest, record.rows
            self.identities[slot, ring] = record.identities[len(record.identities) - kept :]
            self.contents[slot, ring] = record.contents[len(record.contents) - kept :]

    def forget(self, partition: int) -> None:
        """Drop the states of a partition that went to another process."""
        kept = [record for record in self.all_records() if record.partition != partition]
        fresh = KeyStates(self.memory)
        fresh.restore(kept)
        self.__dict__.update(fresh.__dict__)

    def read(self, slots: Ints) -> StateDelta:
        """Return the states of keys as they are, by place; a copy."""
        return StateDelta(slots, self.newest[slots], self.rows[slots], self.identities[slots], self.contents[slots])

    def _record(self, i: int, slot: int, delta: StateDelta) -> KeyRecord:
        partition, key = self._keys[slot]
        rows = int(delta.rows[i])
        ring = np.arange(max(0, rows - self.memory), rows) % self.memory
        return KeyRecord(partition, key, int(delta.newest[i]), rows, delta.identities[i, ring], delta.contents[i, ring])

    def _grow(self, wanted: int) -> None:
        have = len(self.newest)
        if wanted <= have:
            return
        more = max(wanted, 2 * have) - have
        self.newest = np.concatenate((self.newest, np.full(more, NEVER, np.int64)))
        self.rows = np.concatenate((self.rows, np.zeros(more, np.int64)))
        empty = np.zeros((more, self.memory), np.uint64)
        self.identities = np.concatenate((self.identities, empty))
        self.contents = np.concatenate((self.contents, empty))
