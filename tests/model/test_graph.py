from __future__ import annotations

import itertools

import numpy as np
import pytest

from slidr.model.graph import Layer, layers_graph
from slidr.model.scaling import Scaling
from slidr.model.scorer import Scorer


@pytest.mark.parametrize("features", [1, 3, 7, 16, 60, 61, 63])
def test_any_number_of_features_scores_alike_in_any_batch(features: int) -> None:
    """The padding of the columns holds for counts on and off the vector width."""
    generator = np.random.default_rng(features)
    scaling = Scaling(
        generator.normal(1, 1, features).astype(np.float32), generator.random(features).astype(np.float32)
    )
    widths = (features, 21, 8, 1)
    layers = tuple(
        Layer(generator.normal(size=(a, b)).astype(np.float32), generator.normal(size=b).astype(np.float32))
        for a, b in itertools.pairwise(widths)
    )
    scorer = Scorer(layers_graph(layers, scaling, tuple(f"f{i}" for i in range(features)), "three_layer"))
    rows = generator.lognormal(1, 2, (1200, features)).astype(np.float32)
    scores = scorer.score(rows)
    for size in range(1, 131):
        np.testing.assert_array_equal(scorer.score(rows[1200 - size :]), scores[1200 - size :])


def test_the_graph_is_the_formula() -> None:
    """Scores equal sigmoid(relu(scaled rows W1 + b1) W2 + b2) computed in doubles."""
    generator = np.random.default_rng(3)
    scaling = Scaling(np.array([1, 0.5], np.float32), np.array([2, 0], np.float32))
    first = Layer(generator.normal(size=(2, 4)).astype(np.float32), np.array([0.1, -0.2, 0.3, 0], np.float32))
    last = Layer(generator.normal(size=(4, 1)).astype(np.float32), np.array([0.5], np.float32))
    rows = np.array([[0, 5], [3, -1], [-2, 9]], dtype=np.float32)
    scaled = (np.sign(rows) * np.log1p(np.abs(rows.astype(np.float64))) - scaling.mean) * scaling.inverse
    logits = np.maximum(scaled @ first.weight + first.bias, 0) @ last.weight + last.bias
    scores = Scorer(layers_graph((first, last), scaling, ("a", "b"), "three_layer")).score(rows)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits[:, 0])), rtol=1e-5)


def test_scores_stay_within_zero_and_one() -> None:
    """However large the sum before the sigmoid, a score lies in [0, 1], at every value and in every lane."""
    scaling = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32))
    rows = np.sinh(np.linspace(-9, 9, 20_001)).reshape(-1, 1).astype(np.float32)
    # The scaling clips, so the whole range of sums comes from the bias of one graph after another.
    for bias in range(-30, 31):
        layer = Layer(np.ones((1, 1), np.float32), np.array([bias], np.float32))
        scores = Scorer(layers_graph((layer,), scaling, ("feature",), "sums")).score(rows)
        assert scores.min() >= 0
        assert scores.max() <= 1
