from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from slidr.calibration.certificate import half_of_purchasers, most_marked, needed, one_click_each
from slidr.calibration.level import certified_level
from slidr.calibration.methods.one_threshold import ByScore
from slidr.calibration.sample import CalibrationSample
from slidr.slices import ROOT


@given(st.integers(1, 5000), st.floats(1e-4, 0.2), st.floats(1e-3, 0.3))
def test_most_marked_is_the_largest_count_within_the_risk(purchasers: int, budget: float, risk: float) -> None:
    """k* is the largest k at which scipy's binomial distribution is within the risk."""
    k = most_marked(purchasers, budget, risk)
    assert k < 0 or binom.cdf(k, purchasers, budget) <= risk * (1 + 1e-9)
    assert binom.cdf(k + 1, purchasers, budget) > risk * (1 - 1e-9)


@given(st.floats(1e-3, 0.2), st.floats(1e-3, 0.3))
def test_needed_is_the_first_number_that_can_be_certified(budget: float, risk: float) -> None:
    """One purchaser fewer than needed allows no k."""
    least = needed(budget, risk)
    assert most_marked(least, budget, risk) >= 0
    assert most_marked(least - 1, budget, risk) == -1


def test_the_figures_of_the_usual_budget() -> None:
    """Half a percent at a risk of 5 % takes 598 purchasers; 1, 4, 16 and 83 of 1k, 2k, 5k and 20k may be marked."""
    assert needed(0.005, 0.05) == 598
    assert [most_marked(n, 0.005, 0.05) for n in (1_000, 2_000, 5_000, 20_000)] == [1, 4, 16, 83]


def test_many_purchasers_are_no_trouble() -> None:
    """Of a million purchasers the count is that of scipy, though no one of them marked is as good as impossible."""
    assert most_marked(1_000_000, 0.005, 0.05) == binom.ppf(0.05, 1_000_000, 0.005) - 1


def test_one_click_each_is_one_click_of_each(sample: CalibrationSample) -> None:
    """Every purchaser gives one purchasing click, and by another draw another."""
    chosen = one_click_each(sample, np.random.default_rng(1))
    assert sorted(sample.purchaser[chosen]) == sorted(set(sample.purchaser[sample.purchased]))
    other = one_click_each(sample, np.random.default_rng(2))
    assert not np.array_equal(chosen, other)


def test_a_half_is_of_purchasers(sample: CalibrationSample) -> None:
    """All clicks of a purchaser fall in one half."""
    half = half_of_purchasers(sample, np.random.default_rng(1))
    assert not set(sample.purchaser[half]) & set(sample.purchaser[~half])
    assert not (half & ~sample.purchased).any()


def test_the_budget_is_overshot_no_more_often_than_the_risk() -> None:
    """On drawn purchases whose rate above any level is known, 1,000 certificates overshoot within the risk."""
    generator, over, clicks = np.random.default_rng(7), 0, 1_200
    for _ in range(1_000):
        scores = generator.random(clicks, dtype=np.float32)
        drawn = CalibrationSample(scores, np.arange(clicks), scores > 2, np.zeros(clicks, np.int32), (ROOT,))
        found = certified_level(ByScore((ROOT,)), drawn, 0.005, 0.05, generator)
        over += 1 - found.level > 0.005
    assert over <= 70


def test_clicks_of_one_purchaser_count_once() -> None:
    """A purchaser with many clicks above the level costs one."""
    scores = np.concatenate((np.full(500, 0.99), np.linspace(0, 0.9, 1_000))).astype(np.float32)
    purchaser = np.concatenate((np.zeros(500, np.int64), np.arange(1, 1_001)))
    sample = CalibrationSample(scores, purchaser, scores > 2, np.zeros(len(scores), np.int32), (ROOT,))
    found = certified_level(ByScore((ROOT,)), sample, 0.005, 0.05, np.random.default_rng(1))
    assert (found.purchasers, found.allowed, found.marked) == (1_001, 1, 1)
    assert found.level == pytest.approx(0.9)
    apart = replace(sample, purchaser=np.arange(len(scores)))
    assert certified_level(ByScore((ROOT,)), apart, 0.005, 0.05, np.random.default_rng(1)).level > 0.98
