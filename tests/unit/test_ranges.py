"""Sets of ranges do what sets of their instants do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.ranges import Range, intersection, normalised, subtracted, total_length, union
from tests.support.examples import examples

anyhow = st.lists(st.builds(Range, st.integers(0, 30), st.integers(0, 30)), max_size=8)


def instants(ranges: Iterable[Range]) -> set[int]:
    return {instant for range_ in ranges for instant in range(range_.start, range_.end)}


def is_a_set(ranges: tuple[Range, ...]) -> bool:
    return all(not r.empty for r in ranges) and all(a.end < b.start for a, b in pairwise(ranges))


def test_a_range_holds_its_start_and_not_its_end() -> None:
    assert not Range(1, 2).empty
    assert Range(1, 1).empty
    assert Range(2, 1).empty


def test_ranges_that_overlap_or_touch_become_one_and_empty_ones_go() -> None:
    ranges = [Range(5, 8), Range(0, 2), Range(2, 3), Range(7, 9), Range(20, 20), Range(30, 10), Range(5, 6)]
    assert normalised(ranges) == (Range(0, 3), Range(5, 9))
    assert normalised([]) == ()


def test_one_range_is_cut_by_many_and_one_of_many_cuts_several() -> None:
    covered = [Range(1, 2), Range(4, 6), Range(9, 12)]
    assert subtracted([Range(0, 10)], covered) == (Range(0, 1), Range(2, 4), Range(6, 9))
    assert subtracted([Range(0, 4), Range(6, 9)], [Range(3, 7)]) == (Range(0, 3), Range(7, 9))
    assert subtracted([Range(0, 4)], []) == (Range(0, 4),)


def test_the_length_is_that_of_all_of_them() -> None:
    assert total_length([Range(0, 3), Range(5, 9)]) == 7
    assert total_length([]) == 0


@examples(100)
@given(anyhow)
def test_a_normalised_set_holds_the_same_instants(ranges: list[Range]) -> None:
    made = normalised(ranges)
    assert is_a_set(made)
    assert instants(made) == instants(ranges)
    assert total_length(made) == len(instants(ranges))


@pytest.mark.parametrize(
    ("operation", "on_instants"),
    [(union, set.union), (intersection, set.intersection), (subtracted, set.difference)],
)
@examples(100)
@given(one=anyhow, other=anyhow)
def test_an_operation_on_ranges_is_that_on_their_instants(
    operation: Callable[..., tuple[Range, ...]],
    on_instants: Callable[[set[int], set[int]], set[int]],
    one: list[Range],
    other: list[Range],
) -> None:
    a, b = normalised(one), normalised(other)
    made = operation(a, b)
    assert is_a_set(made)
    assert instants(made) == on_instants(instants(a), instants(b))
