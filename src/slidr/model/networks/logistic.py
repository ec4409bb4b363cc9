"""Logistic regression on the scaled features, the paper's first baseline."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from slidr.model.layers import fit_layers
from slidr.model.training import Progress, Trained, TrainingSet
from slidr.settings import ModelSettings

_FASTER = 10  # a convex loss bears a larger step than a deep one, and within one pass it needs it


def fit(
    training: TrainingSet,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Return the regression, which is a network without hidden layers, as an ONNX graph, and its learning curve.

    It is trained like the network, with the same weights, so that a comparison shows what the hidden layers do.

    Raises:
        TrainingError: as `slidr.model.layers.fit_layers`.
    """
    settings = msgspec.structs.replace(settings, widths=(), learning_rate=settings.learning_rate * _FASTER)
    return fit_layers(training, settings, generator, progress, checkpoint, network="logistic")
