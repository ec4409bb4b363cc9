"""Reference: what is usual of the clicks of people, against which the reasons of a decision are measured."""

from __future__ import annotations

import msgspec
import numpy as np

from slidr.errors import TrainingError
from slidr.metrics import Bools, Float32s

_SHARES = (0.01, 0.5, 0.99)


class Usual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one feature is for people.

    Attributes:
        low: one click of a hundred is at or below it.
        median: as many clicks are below it as above.
        high: 99 clicks of a hundred are at or below it.
    """

    low: float
    median: float
    high: float


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is usual of the clicks of people; the medians together are the reference click.

    Attributes:
        clicks: how many clicks it was taken from.
        features: what is usual, by the name of the feature.
    """

    clicks: int
    features: dict[str, Usual]

    def row(self, names: tuple[str, ...]) -> Float32s:
        """Return the reference click as a row of these features, float32[F]."""
        return np.array([self.features[name].median for name in names], np.float32)


def reference_of(rows: Float32s, human: Bools, names: tuple[str, ...]) -> Reference:
    """Return what is usual of clicks labelled human.

    Each value is one that some click has (the inverse of the empirical distribution), so that a median of counts is a
    count. The medians are of each feature alone: no click needs to have all of them, and the time of day, which is
    coordinates of a circle, has its median near the middle of it, which is no time at all.

    Args:
        rows: float32[n, F].
        human: labelled human, bool[n].
        names: the features of the rows.

    >>> rows = np.array([[1], [2], [9], [400]], np.float32)
    >>> reference_of(rows, np.array([True, True, True, False]), ("clicks",)).features["clicks"]
    Usual(low=1.0, median=2.0, high=9.0)

    Raises:
        TrainingError: no click is labelled human.
    """
    chosen = np.flatnonzero(human)
    if not len(chosen):
        raise TrainingError("no click is labelled human, so nothing is usual of people; check the labels' purchases")
    features = {}
    # Column by column, so that the rows are never copied whole.
    for column, name in enumerate(names):
        found = np.quantile(rows[chosen, column], _SHARES, method="inverted_cdf")
        features[name] = Usual(*found.tolist())
    return Reference(len(chosen), features)
