"""Pointers: what a kernel finds at an address is the array that is there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slidr.features.arithmetic import Whole
from slidr.features.kernel import kernel
from slidr.features.pointers import array_at

_words, _matrix = array_at(np.uint32), array_at(np.int32, rows=2)


@kernel()
def _swap(places: NDArray[np.int64]) -> Whole:
    """Add one to all words, turn the rows of the matrix round, and return their length."""
    words, matrix = _words(places[0], places[1]), _matrix(places[2], places[3])
    for place in range(len(words)):
        words[place] += np.uint32(1)
    for column in range(matrix.shape[1]):
        matrix[0, column], matrix[1, column] = matrix[1, column], matrix[0, column]
    return matrix.shape[1]


@given(st.lists(st.integers(0, 2**32 - 2), max_size=50), st.integers(0, 20))
def test_a_kernel_reads_and_writes_what_is_at_an_address(values: list[int], columns: int) -> None:
    """Every element is where it was, of its type, and none beside the array is touched."""
    words = np.array([7, *values, 9], np.uint32)
    matrix = np.arange(2 * columns, dtype=np.int32).reshape(2, columns)
    held = words[1:-1]
    places = np.array([held.ctypes.data, len(held), matrix.ctypes.data, columns])
    assert _swap(places) == columns
    assert words.tolist() == [7, *(value + 1 for value in values), 9]
    np.testing.assert_array_equal(matrix, np.arange(2 * columns).reshape(2, columns)[::-1])
