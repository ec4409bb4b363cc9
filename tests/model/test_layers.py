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
    return Scorer(three_layer.fit(training, settings, np.random.default_rng(seed)).graph).score(training.rows)


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


def test_a_training_that_only_grows_worse_is_an_error(training: TrainingSet) -> None:
    """A loss that stays finite and far above a coin's is divergence, and no graph is returned."""
    with pytest.raises(TrainingError, match=r"that of a coin would be 0\.69.*: the training diverges"):
        scores(training, msgspec.structs.replace(SETTINGS, learning_rate=1000.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the machine has no CUDA device")
def test_a_gpu_learns_what_the_processor_learns(training: TrainingSet) -> None:
    """Trained on a GPU, scores are those of the CPU but for rounding."""
    close = scores(training, msgspec.structs.replace(SETTINGS, device="cuda"))
    np.testing.assert_allclose(close, scores(training, SETTINGS), atol=0.02)
