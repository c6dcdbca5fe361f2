"""Hashes of rows are stored, so their values must never change, whatever machine or library computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.hashing import hash_rows

NAN = float("nan")
GOLDEN_LONG = [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1, 0xE4D971771B652C20]
GOLDEN_DOUBLE = [0xE220A8397B1DCDAF, 0xD6DAB18E1392608A, 0xC72971D82E15BB46]
GOLDEN_BOOLEAN = [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1]
GOLDEN_TEXT = [
    0xA706DD2F4D197E6F,
    0xFC187C49244E4B79,
    0xF246D6F6D9EB1D96,
    0xFAEA533F94C4E1A4,
    0x9721CCF2740C6D24,
    0xE92DB1762A1F166C,
]
GOLDEN_NULL = [0xE2AAC06220126021]
GOLDEN_ROWS = [0x48F3CC773F07F437, 0xF9B037DCA11C2663]


def hashed(*columns: pa.Array) -> list[int]:
    found: list[int] = hash_rows(columns, np.arange(len(columns[0]))).tolist()
    return found


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([0, 1, -1], pa.int64()), GOLDEN_LONG),
        (pa.array([0, 1, -1], pa.int32()), GOLDEN_LONG),
        (pa.array([0.0, 1.5, NAN], pa.float64()), GOLDEN_DOUBLE),
        (pa.array([0.0, 1.5, NAN], pa.float32()), GOLDEN_DOUBLE),
        (pa.array([False, True]), GOLDEN_BOOLEAN),
        (pa.array(["", "a", "AAPL", "12345678", "a trade id of more than 16 bytes", "é"]), GOLDEN_TEXT),
        (pa.array([None], pa.int64()), GOLDEN_NULL),
        (pa.array([None], pa.string()), GOLDEN_NULL),
    ],
)
def test_hashes_are_what_they_were_when_the_first_states_were_stored(column: pa.Array, expected: list[int]) -> None:
    assert hashed(column) == expected


def test_the_hash_of_several_columns_is_what_it_was() -> None:
    assert hashed(pa.array(["A", "B"]), pa.array([1, None], pa.int64()), pa.array([0.5, 0.25])) == GOLDEN_ROWS


def test_numbers_that_are_equal_hash_equal() -> None:
    zero, negative_zero = hashed(pa.array([0.0, -0.0]))
    assert zero == negative_zero
    quiet, signed = hashed(pa.array(np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64).view(np.float64)))
    assert quiet == signed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a"], ["a\0"]),
        (["a\0"], ["a\0\0"]),
        ([""], ["\0"]),
        ([""], [None]),
        (["12345678"], ["12345678\0"]),
        (["1234567812345678"], ["1234567812345679"]),
        ([0], [None]),
        ([1], [2]),
        ([0.0], [None]),
    ],
)
def test_values_that_differ_hash_differently(one: list[Any], other: list[Any]) -> None:
    kind = pa.array([v for v in [*one, *other] if v is not None]).type
    assert hashed(pa.array(one, kind)) != hashed(pa.array(other, kind))


def test_the_order_and_the_borders_of_columns_matter() -> None:
    a, b = pa.array(["a"]), pa.array(["b"])
    assert hashed(a, b) != hashed(b, a)
    assert hashed(pa.array(["ab"]), pa.array([""])) != hashed(pa.array(["a"]), pa.array(["b"]))


def test_only_chosen_rows_are_hashed_also_of_a_slice() -> None:
    texts = pa.array(["zero", None, "two and more than a word", "three", ""])
    numbers = pa.array([1, 2, None, 4, 5])
    whole = hash_rows([texts, numbers], np.arange(5))
    part = hash_rows([texts.slice(2), numbers.slice(2)], np.array([2, 0, 1]))
    assert part.tolist() == whole[[4, 2, 3]].tolist()


def test_no_rows_and_no_columns_are_no_special_case() -> None:
    assert hash_rows([pa.array([], pa.string())], np.zeros(0, np.int64)).tolist() == []
    assert hash_rows([], np.arange(2)).tolist() == [0, 0]
    assert hashed(pa.array([None, None], pa.string())) == GOLDEN_NULL * 2


def test_hashes_are_spread_evenly() -> None:
    found = np.array(hashed(pa.array(np.arange(10_000))), np.uint64)
    assert len(np.unique(found)) == 10_000
    ones = np.unpackbits(found.view(np.uint8)).mean()
    assert 0.49 < ones < 0.51
