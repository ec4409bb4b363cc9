from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.errors import CalibrationError
from slidr.evaluation.intervals import clustered_interval
from slidr.metrics import clopper_pearson


@given(st.integers(1, 400), st.floats(0, 1))
def test_one_click_a_cluster_is_the_exact_interval(clicks: int, share: float) -> None:
    """Clicks that are all independent have the interval of Clopper and Pearson."""
    marked = np.arange(clicks) < round(share * clicks)
    found = clustered_interval(marked, np.arange(clicks))
    assert found == pytest.approx(clopper_pearson(int(marked.sum()), clicks), abs=1e-6)


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 5))
def test_repeated_clicks_do_not_narrow_it(marks: list[bool], times: int) -> None:
    """Every click seen several times, in the same cluster, tells no more than seen once."""
    marked, clusters = np.array(marks), np.arange(len(marks))
    once = clustered_interval(marked, clusters)
    often = clustered_interval(np.repeat(marked, times), np.repeat(clusters, times))
    assert often[0] <= once[0] + 1e-9
    assert often[1] >= once[1] - 1e-9


def test_it_covers_the_share_of_clustered_clicks() -> None:
    """Over 1,000 draws of 400 buyers with one to ten clicks alike, 93 % of the intervals hold the true share or more."""
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(1_000):
        clusters = np.repeat(np.arange(400), generator.integers(1, 11, 400))
        chance = generator.beta(0.2, 9.8, 400)
        low, high = clustered_interval(generator.random(len(clusters)) < chance[clusters], clusters)
        covered += low <= 0.02 <= high
    assert covered >= 930


@pytest.mark.parametrize(("clicks", "confidence"), [(0, 0.95), (3, 0.0), (3, 1.0)])
def test_nothing_has_no_interval(clicks: int, confidence: float) -> None:
    """No clicks, and a confidence that is none, are refused."""
    with pytest.raises(CalibrationError, match="no interval"):
        clustered_interval(np.zeros(clicks, np.bool_), np.zeros(clicks, np.int64), confidence)
