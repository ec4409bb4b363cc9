"""Three fully connected hidden layers with ReLU, L2 on their weights, and a sigmoid (SLIDR, AAAI 2023)."""

from __future__ import annotations

import numpy as np

from slidr.model.training import Progress, TrainingSet, fit_layers
from slidr.settings import ModelSettings


def fit(
    training: TrainingSet,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
) -> bytes:
    """Return the trained network with its input scaling as an ONNX graph.

    The widths of the layers are `model.widths`; the paper gives none, the defaults are ours.

    Raises:
        TrainingError: the loss is not finite, or the graph does not agree with PyTorch.
    """
    return fit_layers(training, settings.widths, settings, generator, progress, network="three_layer")
