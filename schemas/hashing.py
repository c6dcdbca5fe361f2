"""Stable 64-bit hashes of rows, computed over whole columns.

The hash is part of what is stored (the remembered identities of a key), so it depends on nothing but the values: not on
the machine, the process or a library's version. Everything goes through the finaliser of SplitMix64 (Steele, Lea and
Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): a number as its 64 bits, a text as its UTF-8 in
words of 8 bytes, little-endian, the last one filled up with zeros, and then its length in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import null_mask, numbers

__all__ = ["hash_rows"]

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0xA5A5A5A5A5A5A5A5)
_WORD = 8
# The bytes of a word that belong to a text of which 0 to 8 bytes are left.
_LEFT = np.array([(1 << (8 * n)) - 1 for n in range(_WORD + 1)], np.uint64)


def hash_rows(columns: Sequence[pa.Array], rows: Ints) -> Hashes:
    """Return one hash per chosen row over the columns in order.

    Equal rows hash equal; -0.0 equals 0.0 and NaN equals NaN. Null equals null and nothing else (but by chance).
    """
    state = np.zeros(len(rows), np.uint64)
    for column in columns:
        _stir(state, _column(column, rows))
    return state


def _stir(state: Hashes, values: Hashes) -> None:
    """Take values into a state, in place."""
    state ^= values
    state += _GOLDEN
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)


def _column(column: pa.Array, rows: Ints) -> Hashes:
    if pa.types.is_string(column.type):
        hashed = _text(column, rows)
    else:
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        values = numbers(column)[rows]
        hashed = _double_bits(values) if values.dtype.kind == "f" else values.astype(np.int64).view(np.uint64)
    if column.null_count:
        hashed[null_mask(column)[rows]] = _NULL
    return hashed


def _double_bits(values: npt.NDArray[np.floating]) -> Hashes:
    doubles = values.astype(np.float64)
    doubles += 0.0  # which turns -0.0 into 0.0
    strange = np.isnan(doubles)
    if strange.any():
        doubles[strange] = np.nan
    return doubles.view(np.uint64)


def _text(column: pa.Array, rows: Ints) -> Hashes:
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    data = column.buffers()[2]
    size = data.size if data is not None else 0
    padded = np.zeros(size + _WORD, np.uint8)
    if size:
        padded[:size] = np.frombuffer(data, np.uint8)
    # The word that begins at each byte.
    words: npt.NDArray[np.uint64] = np.ndarray((size + 1,), "<u8", padded.data, strides=(1,))
    starts = offsets[rows].astype(np.int64)
    lengths = offsets[rows + 1] - starts
    state = np.zeros(len(rows), np.uint64)
    done, going = 0, np.arange(len(rows))
    while len(going := going[lengths[going] > done]):
        part = state[going]
        _stir(part, words[starts[going] + done] & _LEFT[np.minimum(lengths[going] - done, _WORD)])
        state[going] = part
        done += _WORD
    _stir(state, lengths.astype(np.uint64))
    return state
