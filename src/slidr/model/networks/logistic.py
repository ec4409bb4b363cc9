"""Logistic regression on the scaled features, the paper's first baseline."""

from __future__ import annotations

import msgspec
import numpy as np

from slidr.model.training import Progress, TrainingSet, fit_layers
from slidr.settings import ModelSettings

_FASTER = 10  # a convex loss bears a larger step than a deep one, and within one pass it needs it


def fit(
    training: TrainingSet,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
) -> bytes:
    """Return the regression, which is a network without hidden layers, as an ONNX graph.

    It is trained like the network, with the same weights, so that a comparison shows what the hidden layers do.

    Raises:
        TrainingError: the loss is not finite, or the graph does not agree with PyTorch.
    """
    settings = msgspec.structs.replace(settings, learning_rate=settings.learning_rate * _FASTER)
    return fit_layers(training, (), settings, generator, progress, network="logistic")
