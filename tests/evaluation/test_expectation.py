from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import HOUR
from slidr.evaluation.expectation import expected_hours

_CLICKS = st.lists(st.tuples(st.integers(0, 10**17), st.booleans()), max_size=200)


@given(_CLICKS)
def test_what_is_true_of_marked_clicks_is_false_of_the_others(clicks: list[tuple[int, bool]]) -> None:
    """The moves of the log-odds are finite, and the opposite where what was marked is not; without clicks none."""
    times, marked = np.array([time for time, _ in clicks], np.int64), np.array([mark for _, mark in clicks], np.bool_)
    found = np.array(expected_hours(times, marked))
    assert found.shape == (24,)
    assert np.isfinite(found).all()
    assert np.allclose(found, -np.array(expected_hours(times, ~marked)), atol=2e-6)
    assert clicks or not found.any()


def test_few_clicks_of_an_hour_move_little() -> None:
    """The same share of ten clicks moves the log-odds less than that of ten thousand."""
    hours, marked = np.repeat([3, 4, 5], [10, 10_000, 10_000]), np.repeat([True, True, False], [10, 10_000, 10_000])
    found = expected_hours(hours * HOUR, marked)
    assert 0 < found[3] < 0.3
    assert found[4] > 2
    assert found[5] < -2
