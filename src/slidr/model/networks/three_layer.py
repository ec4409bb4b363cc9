"""Three fully connected hidden layers with ReLU, L2 on their weights, and a sigmoid (SLIDR, AAAI 2023)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slidr.model.layers import fit_layers
from slidr.model.training import Progress, Trained, TrainingSet
from slidr.settings import ModelSettings


def fit(
    training: TrainingSet,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Return the trained network with its input scaling as an ONNX graph, and its learning curve.

    The widths of the layers are `model.widths`; the paper gives none, the defaults are ours.

    Raises:
        TrainingError: as `slidr.model.layers.fit_layers`.
    """
    return fit_layers(training, settings, generator, progress, checkpoint, network="three_layer")
