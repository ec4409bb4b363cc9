"""Training: what a network is fitted to, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np

from slidr.errors import TrainingError
from slidr.metrics import Bools, Float32s, Int64s
from slidr.model.scorer import Scorer

Progress = Callable[[float], None]

TOLERANCE = 1e-5
"""Largest difference between a score of the exported graph and that of the library which trained it."""

_CHECKED_ROWS = 4096
_MOST_HELD_OUT, _LEAST_HELD_OUT = 4096, 100


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Labelled rows of features, in the order of time.

    Attributes:
        rows: float32[n, F].
        human: bool[n]; what is not human is unlabelled, and trained as robotic.
        weights: float32[n], sample weights.
        names: the F features.

    Raises:
        TrainingError: no rows, shapes that do not fit, a value that is not finite, features of which none varies, or
            labels of one class only.
    """

    rows: Float32s
    human: Bools
    weights: Float32s
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        clicks, features = len(self.human), len(self.names)
        if clicks == 0 or features == 0:
            raise TrainingError(
                f"a training set of {clicks} clicks and {features} features teaches nothing; "
                "check that the training days hold clicks and that the catalogue holds features"
            )
        if self.rows.shape != (clicks, features) or self.weights.shape != (clicks,):
            raise TrainingError(
                f"rows are {self.rows.shape} and weights {self.weights.shape}, and must be {(clicks, features)} and "
                f"{(clicks,)}; join rows, labels and weights by click first"
            )
        self._check_values()
        humans = int(np.count_nonzero(self.human))
        if humans in {0, clicks}:
            raise TrainingError(
                f"{humans} of {clicks} clicks are labelled human, and training needs both labels; "
                "check the purchase log and labels.attribution_window"
            )
        if len(self.constant) == features:
            raise TrainingError(
                f"none of the {features} features varies over {clicks} clicks, so nothing tells clicks apart; "
                "check the clicks' columns and run `slidr backfill` again"
            )

    @cached_property
    def constant(self) -> tuple[str, ...]:
        """Names of the features that have one value in all rows, of which nothing can be learnt."""
        same = self.rows.min(axis=0) == self.rows.max(axis=0)
        return tuple(name for name, is_same in zip(self.names, same.tolist(), strict=True) if is_same)

    @property
    def held_out(self) -> Int64s:
        """Rows that no network learns from and learning curves are read on: one in a hundred, of the latest tenth.

        None are held out of fewer than ten thousand clicks, where a hundredth would tell nothing.
        """
        clicks = len(self.human)
        count = min(_MOST_HELD_OUT, clicks // 100)
        if count < _LEAST_HELD_OUT:
            return np.zeros(0, np.int64)
        return np.linspace(clicks - clicks // 10, clicks - 1, count).astype(np.int64)

    def _check_values(self) -> None:
        # Finite rows have finite column sums; the converse fails only on overflow, which float64 excludes.
        sums = np.add.reduce(self.rows, axis=0, dtype=np.float64)
        for column in np.flatnonzero(~np.isfinite(sums)):
            wrong = np.flatnonzero(~np.isfinite(self.rows[:, column]))
            raise TrainingError(
                f"feature {self.names[column]} of row {wrong[0]} is {self.rows[wrong[0], column]}, and must be finite, "
                f"as in {len(wrong)} of {len(self.rows)} rows; check the source of the row"
            )
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all() and self.weights.sum() > 0):
            raise TrainingError("sample weights must be finite, none negative and not all zero; make them again")


class Curve(msgspec.Struct, frozen=True):
    """A learning curve: the weighted cross-entropy of a click, in nats, as training goes on.

    Attributes:
        unit: what `seen` counts: clicks, or trees.
        seen: how many had been learnt from at each point.
        training: mean loss since the point before. In one pass every click is new when its loss is taken; the loss of
            trees is that of clicks they have learnt from.
        held_out: loss at the point on rows that nothing is learnt from; empty where the log is too small.
    """

    unit: str = "clicks"
    seen: tuple[int, ...] = ()
    training: tuple[float, ...] = ()
    held_out: tuple[float, ...] = ()


class Trained(NamedTuple):
    """What fitting a network gives: its ONNX graph, how it learnt, and how far the graph's scores are from its own."""

    graph: bytes
    curve: Curve
    difference: float = 0.0


def sample_rows(rows: Float32s) -> Float32s:
    """Return up to 4,096 rows, evenly spread, to compare a graph on: float32[m, F]."""
    return rows[:: math.ceil(len(rows) / _CHECKED_ROWS)].copy()


def check_agreement(graph: bytes, rows: Float32s, expected: Float32s) -> float:
    """Return the largest difference between a score of a graph and that of the library which trained it.

    Args:
        graph: as exported.
        rows: float32[m, F].
        expected: float32[m], the library's scores.

    Raises:
        TrainingError: a score differs by more than 1e-5.
    """
    scorer = Scorer(graph)
    difference = float(np.abs(scorer.score(rows) - expected).max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"the exported graph of {scorer.network} differs from what was trained by {difference:.1e}, and at most "
            f"{TOLERANCE:.0e} is allowed; look for features with extreme values"
        )
    return difference
