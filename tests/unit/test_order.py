"""Order, gaps, duplicates and revisions of keys, as they depend on the rows before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from schemas.grid import NANOS, make_grid
from schemas.keystate import NEVER, KeyStates
from schemas.order import OrderRules, judge

MINUTE = 60 * NANOS
INT64 = np.iinfo(np.int64)


@dataclass
class Feed:
    """Rows of keys in nanoseconds; identity is the time unless ids are given."""

    lateness: int = 5
    memory: int = 64
    interval: int | None = None
    rejecting: frozenset[str] = frozenset()
    identified_by_time: bool = True
    states: KeyStates = field(init=False)

    def __post_init__(self) -> None:
        self.states = KeyStates(self.memory)
        self.rules = OrderRules(
            make_grid(self.interval, "24/7") if self.interval else None,
            self.lateness,
            NANOS,
            self.identified_by_time,
            self.rejecting,
        )

    def send(
        self, times: list[int], keys: str = "", ids: list[int] | None = None, contents: list[int] | None = None
    ) -> dict[str, list[int]]:
        """Judge rows, remember them, and return the rows of each finding."""
        n = len(times)
        slots = self.states.slots([0] * n, list(keys or "A" * n))
        identity = np.array(ids if ids is not None else [t % 2**63 for t in times], np.uint64)
        content = np.array(contents or [0] * n, np.uint64)
        j = judge(
            self.rules, self.states, slots, np.array(times, np.int64), lambda rows: (identity[rows], content[rows])
        )
        self.states.apply(j.delta)
        masks = {
            "out_of_order": j.out_of_order,
            "late": j.late,
            "gap": j.gap,
            "duplicate": j.duplicate,
            "revision": j.revision,
        }
        return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items() if mask is not None}


def test_rising_rows_of_several_keys_are_no_finding() -> None:
    assert Feed().send([1, 1, 2, 2, 3, 3], "ABABAB") == {}


def test_no_rows_are_no_finding() -> None:
    feed = Feed()
    assert feed.send([]) == {}
    assert len(feed.states) == 0


def test_a_row_older_than_the_newest_of_its_key_is_out_of_order_also_across_batches() -> None:
    feed = Feed()
    assert feed.send([10, 9, 9, 11], "AABA") == {"out_of_order": [1]}
    assert feed.send([10, 10], "AB") == {"out_of_order": [0], "duplicate": [0]}


def test_a_row_is_late_if_it_is_older_by_more_than_the_lateness() -> None:
    assert Feed(lateness=5).send([10, 5, 4]) == {"out_of_order": [1, 2], "late": [2]}
    assert Feed(lateness=0).send([10, 9]) == {"out_of_order": [1], "late": [1]}


@pytest.mark.parametrize("lateness", [0, 5, INT64.max])
def test_no_limit_of_int64_makes_a_row_late_or_timely(lateness: int) -> None:
    for times in ([INT64.min + 1, INT64.min + 1], [INT64.min + 5, INT64.max], [0, INT64.max]):
        assert "late" not in Feed(lateness=lateness).send(times, ids=[1, 2])
    # From 1900 to 2199 it is more nanoseconds than an int64 holds.
    found = Feed(lateness=lateness).send([7_258_118_399 * NANOS, -2_208_988_800 * NANOS])
    assert found == {"out_of_order": [1], "late": [1]}


def test_the_first_row_of_a_key_is_never_late_nor_after_a_gap() -> None:
    assert Feed(lateness=0, interval=MINUTE).send([-5 * MINUTE, 10 * MINUTE], "AB") == {}


def test_a_hole_in_the_grid_is_a_gap_once() -> None:
    feed = Feed(interval=MINUTE, lateness=100 * MINUTE)
    assert feed.send([0, MINUTE, 4 * MINUTE, 5 * MINUTE]) == {"gap": [2]}
    assert feed.send([2 * MINUTE]) == {"out_of_order": [0]}
    assert feed.send([8 * MINUTE]) == {"gap": [0]}


def test_an_equal_row_is_a_duplicate_and_another_of_its_identity_a_revision() -> None:
    feed = Feed()
    assert feed.send([1, 1, 1], contents=[7, 7, 8]) == {"duplicate": [1], "revision": [2]}
    # Each is compared with the row of its identity that came last.
    assert feed.send([1, 1], contents=[8, 7]) == {"duplicate": [0], "revision": [1]}


def test_rows_of_two_keys_are_never_the_same_row() -> None:
    assert Feed().send([1, 1], "AB") == {}


def test_two_ticks_of_one_moment_are_two_ticks() -> None:
    feed = Feed(identified_by_time=False)
    assert feed.send([1, 1, 1], ids=[1, 2, 1]) == {"duplicate": [2]}


def test_a_newer_tick_may_be_a_duplicate_where_time_does_not_identify() -> None:
    assert Feed(identified_by_time=False).send([1, 2], ids=[5, 5]) == {"duplicate": [1]}


@pytest.mark.parametrize("memory", [1, 2, 64])
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_row_is_remembered_for_as_many_rows_as_the_memory_holds(memory: int, in_one_batch: bool) -> None:
    for distance, expected in ((memory, {"duplicate": [0]}), (memory + 1, {})):
        feed = Feed(identified_by_time=False, memory=memory)
        ids = list(range(distance))
        if in_one_batch:
            found = feed.send([*range(distance), 1000], ids=[*ids, 0])
            assert found == {name: [distance] for name in expected}
        else:
            feed.send(list(range(distance)), ids=ids)
            assert feed.send([1000], ids=[0]) == expected


def test_the_memory_of_64_rows_is_of_each_key() -> None:
    feed = Feed(identified_by_time=False)
    feed.send([1], "A", ids=[1])
    feed.send(list(range(100)), "B" * 100, ids=list(range(100)))
    assert feed.send([2, 200, 200], "ABB", ids=[1, 99, 35]) == {"duplicate": [0, 1]}
    assert feed.send([300], "B", ids=[1]) == {}


@pytest.mark.parametrize("finding", ["out_of_order", "late"])
def test_a_row_that_is_rejected_for_its_order_is_not_remembered(finding: str) -> None:
    feed = Feed(lateness=0, rejecting=frozenset({finding}))
    found = feed.send([10, 5, 5])
    assert found == {"out_of_order": [1, 2], "late": [1, 2]}
    assert feed.states.all_records()[0].rows == 1


def test_a_gap_that_is_a_violation_rejects_one_row_and_not_all_that_follow() -> None:
    feed = Feed(interval=MINUTE, lateness=100 * MINUTE, rejecting=frozenset({"gap"}))
    assert feed.send([0, 5 * MINUTE, 6 * MINUTE]) == {"gap": [1]}
    assert feed.states.all_records()[0].rows == 2
    # The row that was rejected comes again when it is replayed, and is no duplicate.
    assert feed.send([5 * MINUTE]) == {"out_of_order": [0]}


def test_the_newest_time_never_goes_back() -> None:
    feed = Feed()
    feed.send([10, 3])
    assert feed.states.all_records()[0].newest == 10
    feed.send([4])
    assert feed.states.all_records()[0].newest == 10


def test_judging_changes_no_state() -> None:
    feed = Feed()
    slots = feed.states.slots([0], ["A"])
    hashes: Any = (np.zeros(1, np.uint64), np.zeros(1, np.uint64))
    judge(feed.rules, feed.states, slots, np.array([5]), lambda _: hashes)
    assert feed.states.read(slots).newest.tolist() == [NEVER]


def test_more_keys_than_16_bits_hold_are_kept_apart() -> None:
    feed = Feed()
    n = 70_000
    slots = feed.states.slots([0] * n, [str(i) for i in range(n)])
    rows = np.concatenate((slots, slots[[0, 65_536]]))
    times = np.concatenate((np.full(n, 5), [4, 6]))
    zeros = np.zeros(len(rows), np.uint64)
    found = judge(feed.rules, feed.states, rows, times, lambda r: (zeros[r], zeros[r]))
    assert found.out_of_order is not None
    assert np.flatnonzero(found.out_of_order).tolist() == [n]
