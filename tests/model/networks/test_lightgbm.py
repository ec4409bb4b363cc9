from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.model.networks.lightgbm import _below, fit
from slidr.model.scorer import Scorer
from slidr.model.training import TrainingSet
from slidr.settings import ModelSettings


@given(st.floats(allow_nan=False, width=64, min_value=-1e30, max_value=1e30), st.integers(-3, 3))
def test_thresholds_split_float32_as_they_did(threshold: float, steps: int) -> None:
    """Rounded down to float32, a threshold sends every float32 around it to the side it went to before."""
    value = np.float32(threshold)
    for _ in range(abs(steps)):
        value = np.nextafter(value, np.float32(np.copysign(np.inf, steps)))
    assert (value <= np.float32(_below(threshold))) == (float(value) <= threshold)


def test_trees_find_what_no_straight_line_separates() -> None:
    """Two features whose product tells people from robots are told apart."""
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(4000, 2)).astype(np.float32)
    human = rows.prod(axis=1) > 0
    training = TrainingSet(rows, human, np.ones(4000, np.float32), ("first", "second"))
    scores = Scorer(fit(training, ModelSettings(), generator).graph).score(rows)
    assert ((scores < 0.5) == human).mean() > 0.95


@pytest.mark.parametrize("weight", [0.01, 100.0])
def test_weights_reach_the_trees(training: TrainingSet, weight: float) -> None:
    """People who weigh more pull all scores down, people who weigh less push them up."""
    weights = np.where(training.human, weight, 1).astype(np.float32)
    weighed = TrainingSet(training.rows, training.human, weights, training.names)
    even = Scorer(fit(training, ModelSettings(), np.random.default_rng(1)).graph).score(training.rows)
    scores = Scorer(fit(weighed, ModelSettings(), np.random.default_rng(1)).graph).score(training.rows)
    assert (scores.mean() < even.mean()) == (weight > 1)
