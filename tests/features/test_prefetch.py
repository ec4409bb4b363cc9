"""Prefetch: what the kernels are given beyond numba does what its plain form says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slidr.features.kernel import kernel
from slidr.features.prefetch import eight_bytes, turn_ring

AGES = np.array([3, 0, 1, 2, 5, 4, 0, 0], np.float64)
counts = st.lists(st.integers(0, 2**31), min_size=6, max_size=6)


@kernel()
def turned(
    words: NDArray[np.uint32], at: int, ages: NDArray[np.float64], hop: float, since: float, ones: NDArray[np.uint32]
) -> Any:
    """Turn a ring."""
    return turn_ring(words, at, ages, 0, hop, since, ones, 0)


@kernel()
def read(data: NDArray[np.uint8], at: int) -> Any:
    """Read eight bytes."""
    return eight_bytes(data, at)


@given(counts, st.integers(0, 5), st.integers(1, 10**9), st.integers(-(10**9), 10**10))
def test_a_ring_turns_as_counts_do_one_by_one(ring: list[int], place: int, hop: int, since: int) -> None:
    """What is too old becomes zero, the click is added, the total is their sum, and nothing beside the ring changes."""
    words = np.array([7, *ring, 9], np.uint32)
    ones = np.zeros(8, np.uint32)
    ones[place] = 1
    total = turned(words, 1, AGES, float(hop), float(since), ones)
    kept = [count if AGES[slot] * hop >= since else 0 for slot, count in enumerate(ring)]
    kept[place] += 1
    assert words.tolist() == [7, *kept, 9]
    assert total == sum(kept) % 2**32


@pytest.mark.parametrize("at", range(4))
def test_eight_bytes_stand_anywhere(at: int) -> None:
    """The first byte is the lowest, wherever the word begins."""
    data = np.arange(1, 13, dtype=np.uint8)
    assert int(read(data, at)) == int.from_bytes(data[at : at + 8].tobytes(), "little")
