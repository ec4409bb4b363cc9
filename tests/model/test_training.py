from __future__ import annotations

import numpy as np
import pytest

from slidr.errors import TrainingError
from slidr.model.networks import velocity
from slidr.model.training import TrainingSet, check_agreement
from slidr.settings import ModelSettings


def test_shapes_that_do_not_fit_are_refused(training: TrainingSet) -> None:
    """Rows, weights and names of unequal length are refused with the shapes."""
    with pytest.raises(TrainingError, match=r"\(3999, 11\)"):
        TrainingSet(training.rows[1:], training.human, training.weights, training.names)
    with pytest.raises(TrainingError, match=r"weights \(3999,\)"):
        TrainingSet(training.rows, training.human, training.weights[1:], training.names)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_weights_that_mean_nothing_are_refused(training: TrainingSet, value: float) -> None:
    """A weight that is negative or not finite is refused."""
    weights = training.weights.copy()
    weights[3] = value
    with pytest.raises(TrainingError, match="sample weights"):
        TrainingSet(training.rows, training.human, weights, training.names)


def test_few_clicks_hold_none_out(training: TrainingSet) -> None:
    """Fewer than ten thousand clicks hold none out; more hold one in a hundred out, of their latest tenth."""
    assert len(training.held_out) == 0
    clicks = 100_000
    many = TrainingSet(
        np.arange(clicks, dtype=np.float32)[:, None], np.arange(clicks) < 9, np.ones(clicks, np.float32), ("place",)
    )
    assert len(np.unique(many.held_out)) == 1000
    assert many.held_out.min() == 90_000


def test_a_graph_that_says_something_else_is_refused(training: TrainingSet) -> None:
    """A difference between the graph and what was trained is an error that names the network and the difference."""
    graph = velocity.fit(training, ModelSettings(), np.random.default_rng(1)).graph
    with pytest.raises(TrainingError, match=r"graph of velocity differs from what was trained by .*e-0"):
        check_agreement(graph, training.rows, np.full(len(training.rows), 0.5, np.float32))
