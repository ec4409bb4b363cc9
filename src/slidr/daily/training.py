"""Training sets: the rows, labels and weights of a part of the log, as the networks learn from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slidr.daily.parts import Part
from slidr.daily.plan import Run
from slidr.model.training import TrainingSet
from slidr.model.weights import sample_weights


def training_set(
    run: Run,
    part: Part,
    *,
    weighted: bool = True,
    human: NDArray[np.bool_] | None = None,
    features: tuple[str, ...] | None = None,
) -> TrainingSet:
    """Return the training set of a part.

    Args:
        run: the run, whose settings cap the weights.
        part: the clicks.
        weighted: whether clicks weigh as `slidr.model.weights` says, or all the same.
        human: labels to learn from instead of the part's own, bool[n].
        features: names of the features to learn from; all of the catalogue where None.

    Raises:
        TrainingError: the part cannot be learned from.
    """
    names = tuple(feature.name for feature in run.catalogue)
    rows = part.rows
    if features is not None:
        rows = np.ascontiguousarray(rows[:, [names.index(name) for name in features]])
    labels = part.human if human is None else human
    weights = np.ones(len(labels), np.float32)
    if weighted:
        logged_in = part.clicks["logged_in"].to_numpy(zero_copy_only=False)
        cap, zone = run.settings.model.weight_cap, run.settings.timezone
        weights = sample_weights(part.times, logged_in, labels, cap=cap, zone=zone)
    return TrainingSet(rows, labels, weights, features or names)
