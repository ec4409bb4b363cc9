"""Peaks: exact distinct counts of an hour, and the highest of several."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.features.slow.peaks import Peaks, distinct_values, highest, no_peaks

KEYS = st.one_of(st.integers(0, 4), st.integers(0, 2**64 - 1))
CLICKS = st.lists(st.tuples(KEYS, KEYS, KEYS), max_size=40)


def matrix(clicks: list[tuple[int, int, int]]) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Return clicks as the count takes them."""
    return np.array(clicks, np.uint64).reshape(-1, 3)


def counted(peaks: Peaks) -> dict[int, list[float]]:
    """Return peaks as a dictionary."""
    return dict(zip(peaks.keys.tolist(), peaks.counts.tolist(), strict=True))


@given(CLICKS, st.integers(1, 50))
def test_counts_are_those_of_sets(clicks: list[tuple[int, int, int]], most: int) -> None:
    """Each entity has the sizes of its sets of values, nulls left out, in however many passes it is counted."""
    peaks = distinct_values(matrix(clicks), most)
    entities = {key for key, _, _ in clicks} - {0}
    assert counted(peaks) == {
        key: [float(len({click[column] for click in clicks if click[0] == key} - {0})) for column in (1, 2)]
        for key in entities
    }
    assert peaks.keys.tolist() == sorted(entities)


PEAKS = st.dictionaries(st.integers(1, 9), st.tuples(st.integers(0, 5), st.integers(0, 5))).map(
    lambda entries: Peaks(
        np.array(sorted(entries), np.uint64),
        np.array([entries[key] for key in sorted(entries)], np.float32).reshape(-1, 2),
    )
)


@given(PEAKS, PEAKS, PEAKS)
def test_the_highest_is_a_maximum(one: Peaks, other: Peaks, third: Peaks) -> None:
    """It is that of each entity and column, does not depend on the order, and nothing adds nothing."""
    both = counted(highest(one, other))
    empty = [0.0, 0.0]
    assert both == {
        key: [max(pair) for pair in zip(counted(one).get(key, empty), counted(other).get(key, empty), strict=True)]
        for key in sorted(counted(one) | counted(other))
    }
    assert both == counted(highest(other, one)) == counted(highest(highest(one, other), one))
    assert counted(highest(highest(one, other), third)) == counted(highest(one, highest(other, third)))
    assert counted(highest(one, no_peaks(2))) == counted(one)


@pytest.mark.parametrize("most", [1, 100])
def test_the_greatest_key_is_counted(most: int) -> None:
    """Keys at both ends of their range fall into a pass."""
    clicks = matrix([(2**64 - 1, 1, 2), (1, 1, 0), (2**63, 2, 2)])
    assert counted(distinct_values(clicks, most)) == {1: [1.0, 0.0], 2**63: [1.0, 1.0], 2**64 - 1: [1.0, 1.0]}
