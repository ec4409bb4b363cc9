"""Memory of records: growing keeps what is there, moves nothing, and never pulls memory from under a reader."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.features.memory import PIECE, Records, touch_array, zeros

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
    assert not any(records.touch(upto))
    records.grow(first + more)
    assert not any(records.touch(upto))
    np.testing.assert_array_equal(records.words, np.append(np.arange(1, first + 1), np.zeros(more)))
    assert not any(touch_array(records.words))
    np.testing.assert_array_equal(records.words[:first], np.arange(1, first + 1))


@given(words=lengths, huge=st.booleans())
def test_zeros_are_touched_in_pieces(*, words: int, huge: bool) -> None:
    """Each step touches no more than a piece, the steps reach the end, and what was touched once is not again."""
    assert sum(1 for _ in touch_array(zeros(words, huge=huge))) == -(-8 * words // PIECE)
    records = Records(words, huge=huge)
    assert sum(1 for _ in records.touch(words)) == -(-4 * words // PIECE)
    assert list(records.touch(words)) == []
    assert not records.words.any()


def test_memory_may_grow_between_two_pieces() -> None:
    """Pages that were moved meanwhile are touched where they are, and nothing else is."""
    records = Records(PIECE)
    pieces = records.touch(2 * PIECE)
    next(pieces)
    records.words[:] = 7
    records.grow(2 * PIECE)
    assert len(list(pieces)) == 7
    assert (records.words[:PIECE] == 7).all()
    assert not records.words[PIECE:].any()
