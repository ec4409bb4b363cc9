from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.errors import CalibrationError
from slidr.evaluation.intervals import clustered_interval, ratio_interval
from slidr.metrics import clopper_pearson


@given(st.integers(1, 400), st.floats(0, 1))
def test_one_click_a_cluster_is_the_exact_interval(clicks: int, share: float) -> None:
    """Clicks that are all independent have the interval of Clopper and Pearson."""
    marked = np.arange(clicks) < round(share * clicks)
    found = clustered_interval(marked, np.arange(clicks))
    assert found == pytest.approx(clopper_pearson(int(marked.sum()), clicks), abs=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), min_size=1, max_size=60), st.integers(2, 5))
def test_repeated_clicks_do_not_narrow_it(buyers: list[tuple[bool, int]], times: int) -> None:
    """Clicks of buyers whose clicks are alike, each click seen several times, tell no more than seen once."""
    marks, sizes = (np.array(column) for column in zip(*buyers, strict=True))
    marked, clusters = np.repeat(marks, sizes), np.repeat(np.arange(len(buyers)), sizes)
    once = clustered_interval(marked, clusters)
    often = clustered_interval(np.repeat(marked, times), np.repeat(clusters, times))
    assert often[0] <= once[0] + 1e-9
    assert often[1] >= once[1] - 1e-9


def test_clusters_that_are_all_alike_count_for_one_click_each() -> None:
    """Two buyers with half of their clicks marked differ in nothing, and are still only two."""
    marked, clusters = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    assert clustered_interval(marked, clusters) == pytest.approx(clopper_pearson(1, 2), abs=1e-6)


def test_one_buyer_with_half_of_all_clicks_widens_it() -> None:
    """Where no click is marked, a buyer with half of them leaves the bound of four clicks, not of two hundred."""
    clusters = np.array([0] * 100 + list(range(1, 101)))
    high = clustered_interval(np.zeros(200, np.bool_), clusters)[1]
    assert high == pytest.approx(clopper_pearson(0, 4)[1], abs=0.02)


@pytest.mark.parametrize(("buyers", "share"), [(400, 0.02), (2_000, 0.005)])
def test_it_covers_the_share_of_clustered_clicks(buyers: int, share: float) -> None:
    """Of 1,000 draws of buyers with one to ten clicks alike, 93 % of intervals cover the truth; taken apart, fewer."""
    generator = np.random.default_rng(1)
    covered = apart = 0
    for _ in range(1_000):
        clusters = np.repeat(np.arange(buyers), generator.integers(1, 11, buyers))
        marked = generator.random(len(clusters)) < generator.beta(10 * share, 10 * (1 - share), buyers)[clusters]
        low, high = clustered_interval(marked, clusters)
        covered += low <= share <= high
        low, high = clopper_pearson(int(marked.sum()), len(marked))
        apart += low <= share <= high
    print(f"{buyers} buyers, {share}: {covered / 10} % cover, {apart / 10} % as if independent")  # noqa: T201
    assert covered >= 930 > apart


@pytest.mark.parametrize(("clicks", "confidence"), [(0, 0.95), (3, 0.0), (3, 1.0)])
def test_nothing_has_no_interval(clicks: int, confidence: float) -> None:
    """No clicks, and a confidence that is none, are refused."""
    with pytest.raises(CalibrationError, match="no interval"):
        clustered_interval(np.zeros(clicks, np.bool_), np.zeros(clicks, np.int64), confidence)


def test_the_interval_of_a_sum_is_that_of_clicks_where_all_cost_the_same() -> None:
    """Clusters of one click of one price: exact for independent clicks, whatever the price."""
    marked = np.arange(1000) < 7
    expected = clustered_interval(marked, np.arange(1000))
    for price in (1, 250_000):
        found = ratio_interval(marked * price, np.full(1000, price), 1000)
        assert found == pytest.approx(expected, rel=2e-3)


def test_a_dear_click_widens_the_interval_of_a_sum() -> None:
    """Where one click costs as much as all others there is less to learn from, as where all have the same share."""
    marked, prices = np.arange(1000) % 100 == 0, np.ones(1000)
    even = ratio_interval(marked * prices, prices, 1000)
    prices[0] = 1000
    dear = ratio_interval(marked * prices, prices, 1000)
    assert even is not None
    assert dear is not None
    assert dear[1] - dear[0] > 5 * (even[1] - even[0])
    sure = ratio_interval(prices, prices, 1000)
    assert sure is not None
    assert 0.3 < sure[0] < 0.5
    assert sure[1] == 1


def test_a_sum_of_nothing_has_no_interval() -> None:
    """No cost, or a single cluster: nothing shows how it varies."""
    assert ratio_interval([0, 0], [0, 0], 10) is None
    assert ratio_interval([1], [2], 10) is None
