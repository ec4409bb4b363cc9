"""Memory of records: growing keeps what is there, moves nothing, and never pulls memory from under a reader."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.features.memory import Records, touch_array

lengths = st.integers(0, 5000).map(lambda half: 2 * half)


@given(first=lengths, more=lengths, held=st.booleans())
def test_growing_keeps_the_words_and_appends_zeros(*, first: int, more: int, held: bool) -> None:
    """Words stay what they were whether or not somebody holds them, the rest is zero, and the views show the same."""
    records = Records(first)
    records.words[:] = np.arange(1, first + 1)
    before = records.words[:] if held else None
    records.grow(first + more)
    np.testing.assert_array_equal(records.words, np.append(np.arange(1, first + 1), np.zeros(more)))
    if first:
        records.floats[0] = 1.0
        assert records.words[0] == np.float32(1.0).view(np.uint32)
    assert len(records.longs) == (first + more) // 2
    if before is not None:
        np.testing.assert_array_equal(before, np.arange(1, first + 1))


@given(first=lengths, more=lengths, upto=st.integers(0, 20_000))
def test_touching_changes_nothing(*, first: int, more: int, upto: int) -> None:
    """Words are what they were, whether their pages were at hand before or not, and past their end nothing is."""
    records = Records(first)
    records.words[:] = np.arange(1, first + 1)
    records.touch(upto)
    records.grow(first + more)
    records.touch(upto)
    np.testing.assert_array_equal(records.words, np.append(np.arange(1, first + 1), np.zeros(more)))
    touch_array(records.words)
    np.testing.assert_array_equal(records.words[:first], np.arange(1, first + 1))
