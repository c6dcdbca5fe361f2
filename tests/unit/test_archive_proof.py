"""The proof of a table: sound exactly where each committed record below the position is there once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.archive.layout import Borders, Source
from streams.archive.proof import SourceProof, prove
from tests.support.examples import examples

SOURCE = Source("t", 0)


def proof(held: list[int], position: int | None, committed: list[int], oldest: int = 0, end: int = 100) -> SourceProof:
    return prove(SOURCE, position, np.array(held, np.int64), Borders(oldest, end), np.array(committed, np.int64))


@given(st.lists(st.integers(0, 12), max_size=14), st.integers(0, 13), st.sets(st.integers(0, 12)))
@examples(300)
def test_a_table_is_sound_exactly_if_it_has_what_was_committed_once(
    held: list[int], position: int, committed: set[int]
) -> None:
    found = proof(held, position, sorted(committed))
    assert found.sound == (sorted(held) == sorted(c for c in committed if c < position))
    assert found.behind == sum(c >= position for c in committed)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (proof([1, 1, 2], 3, [1, 2]), "1 offsets are there more than once: 1"),
        (proof([1, 2, 3], 3, [1, 2, 3]), "1 rows are behind the position 3: 3"),
        (proof([1], 3, [1, 2]), "1 committed records are not in the table: 2"),
        (proof([0, 1], 3, [1]), "1 rows are of no committed record: 0"),
        (proof([0, 1], 2, [5], oldest=5), "retention has deleted offsets 2 to 4"),
        (proof([], 101, []), "the topic ends at 100"),
    ],
)
def test_what_is_wrong_is_said_with_offsets(found: SourceProof, says: str) -> None:
    assert not found.sound
    assert says in "; ".join(found.problems)


def test_rows_that_the_topic_no_longer_has_are_no_fault() -> None:
    found = proof([0, 1, 5, 6], 7, [5, 6], oldest=5)
    assert found.sound
    assert (found.rows, found.checked) == (4, 2)


def test_a_partition_of_which_nothing_was_archived_is_behind() -> None:
    found = proof([], None, [0, 1, 2])
    assert found.sound
    assert found.behind == 3
