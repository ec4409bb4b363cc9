from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from slidr.errors import TrainingError
from slidr.metrics import Float32s
from slidr.model.networks import three_layer
from slidr.model.scorer import Scorer
from slidr.model.training import TrainingSet
from slidr.settings import ModelSettings

SETTINGS = ModelSettings(widths=(16,))


def scores(training: TrainingSet, settings: ModelSettings, seed: int = 1) -> Float32s:
    """Fit and score the training rows."""
    return Scorer(three_layer.fit(training, settings, np.random.default_rng(seed))).score(training.rows)


def test_another_seed_gives_another_network(training: TrainingSet) -> None:
    """The generator decides initial weights and order."""
    assert not np.array_equal(scores(training, SETTINGS), scores(training, SETTINGS, seed=2))


def test_torch_is_left_as_it_was(training: TrainingSet) -> None:
    """Training neither draws from torch's global generator nor changes its threads."""
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    scores(training, SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_penalty_shrinks_the_hidden_layers(training: TrainingSet) -> None:
    """A large L2 penalty leaves hidden layers without effect, so that all scores come close together."""
    free = scores(training, msgspec.structs.replace(SETTINGS, learning_rate=0.03))
    held = scores(training, msgspec.structs.replace(SETTINGS, learning_rate=0.03, l2=10.0))
    assert held.std() < free.std() / 10


def test_weights_move_the_scores(training: TrainingSet) -> None:
    """Clicks of no weight are not learnt from: weighing people up lowers the scores."""
    heavier = np.where(training.human, 10, 1).astype(np.float32)
    weighted = TrainingSet(training.rows, training.human, heavier, training.names)
    assert scores(weighted, SETTINGS).mean() < scores(training, SETTINGS).mean() - 0.1


def test_a_diverging_loss_is_an_error(training: TrainingSet) -> None:
    """A rate that blows the loss up is named, and no graph is returned."""
    with pytest.raises(TrainingError, match=r"model\.learning_rate = 1e\+30"):
        scores(training, msgspec.structs.replace(SETTINGS, learning_rate=1e30))


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
