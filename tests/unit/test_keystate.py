"""What is remembered of each key can be applied, undone, stored, restored and forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.keystate import NEVER, KeyRecord, KeyStates, StateDelta


def hashes(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(values, np.uint64)


def record(partition: int = 0, key: str = "A", newest: int = 10, rows: int = 3, *identities: int) -> KeyRecord:
    return KeyRecord(partition, key, newest, rows, hashes(*identities), hashes(*(i + 100 for i in identities)))


def plain(records: list[KeyRecord]) -> list[tuple[object, ...]]:
    return [(r.partition, r.key, r.newest, r.rows, r.identities.tolist(), r.contents.tolist()) for r in records]


def test_a_key_keeps_its_place_and_a_partition_makes_another_key() -> None:
    states = KeyStates(2)
    assert states.slots([0, 0, 1], ["A", "B", "A"]).tolist() == [0, 1, 2]
    assert states.slots([1, 0], ["A", "B"]).tolist() == [2, 1]
    assert len(states) == 3


def test_a_new_key_remembers_nothing() -> None:
    states = KeyStates(2)
    delta = states.read(states.slots([0], ["A"]))
    assert delta.newest.tolist() == [NEVER]
    assert plain(states.records(delta)) == [(0, "A", NEVER, 0, [], [])]


def test_states_grow_beyond_their_first_capacity_and_keep_what_they_had() -> None:
    states = KeyStates(1)
    states.restore([record(0, f"K{i}", i, 1, i) for i in range(1_000)])
    assert plain(states.all_records())[999] == (0, "K999", 999, 1, [999], [1099])
    assert plain(states.all_records())[0] == (0, "K0", 0, 1, [0], [100])


def test_applying_a_delta_returns_what_undoes_it() -> None:
    states = KeyStates(2)
    states.restore([record(0, "A", 10, 2, 1, 2)])
    before = plain(states.all_records())
    slots = states.slots([0], ["A"])
    new = StateDelta(slots, np.array([20]), np.array([3]), hashes(3, 2)[None, :], hashes(103, 102)[None, :])
    undo = states.apply(new)
    assert plain(states.all_records()) == [(0, "A", 20, 3, [2, 3], [102, 103])]
    states.apply(undo)
    assert plain(states.all_records()) == before


def test_reading_gives_a_copy() -> None:
    states = KeyStates(1)
    states.restore([record(0, "A", 10, 1, 1)])
    states.read(np.array([0])).identities[:] = 9
    assert states.all_records()[0].identities.tolist() == [1]


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 7, 100])
def test_records_hold_the_last_rows_oldest_first_and_come_back_equal(rows: int) -> None:
    kept = list(range(max(0, rows - 3), rows))
    states = KeyStates(3)
    states.restore([record(0, "A", 10, rows, *kept)])
    stored = states.all_records()
    assert stored[0].identities.tolist() == kept
    again = KeyStates(3)
    again.restore(stored)
    assert plain(again.all_records()) == plain(stored)


def test_a_smaller_memory_keeps_the_newest_rows() -> None:
    states = KeyStates(2)
    states.restore([record(0, "A", 10, 7, 3, 4, 5, 6)])
    assert states.all_records()[0].identities.tolist() == [5, 6]


def test_a_greater_memory_keeps_all_that_was_stored() -> None:
    states = KeyStates(8)
    states.restore([record(0, "A", 10, 7, 5, 6)])
    assert states.all_records()[0].identities.tolist()[-2:] == [5, 6]


def test_restoring_a_key_again_replaces_what_was_there() -> None:
    states = KeyStates(3)
    states.restore([record(0, "A", 10, 5, 2, 3, 4)])
    states.restore([record(0, "A", 4, 1, 9)])
    assert plain(states.all_records()) == [(0, "A", 4, 1, [9], [109])]


def test_a_forgotten_partition_leaves_the_others_as_they_are() -> None:
    states = KeyStates(2)
    states.restore([record(0, "A", 1, 1, 1), record(1, "A", 2, 1, 2), record(0, "B", 3, 1, 3), record(2, "C", 4, 1, 4)])
    states.forget(0)
    assert [(r.partition, r.key) for r in states.all_records()] == [(1, "A"), (2, "C")]
    assert plain(states.all_records())[1] == (2, "C", 4, 1, [4], [104])
    assert states.read(states.slots([0], ["A"])).newest.tolist() == [NEVER]


def test_a_memory_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        KeyStates(0)
