"""Fairlearn's thresholds with parity of false-positive rates, held to the same budget and scores as slidr's.

`ThresholdOptimizer` equalises the false-positive rate of the slices and has no budget; what moves it along its curve is
how much a purchase weighs against a click. So purchasing clicks are repeated as often as brings the overall FPR down to
the budget. Everything is fitted and measured on one half of the clicks and judged on the other at equal FPR.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from fairlearn.postprocessing import ThresholdOptimizer
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from slidr import extensions
from slidr.calibration.calibrate import METHODS
from slidr.calibration.level import u_of
from slidr.calibration.sample import CalibrationSample
from slidr.evaluation.truth import level_at
from slidr.settings import CalibrationSettings

_MOST = 400_000
"""Clicks that fairlearn is given: it works row by row in Python."""
_BISECTIONS = 12
_MOST_COPIES = 4096


class _Scores(BaseEstimator):  # type: ignore[misc]
    """An estimator that was fitted elsewhere: its only feature is the score."""

    def fit(self, rows: pd.DataFrame, labels: NDArray[np.int64]) -> _Scores:
        del rows, labels
        self.fitted_ = True
        return self

    def predict(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        return np.asarray(rows["score"])


def ivr_of_fairlearn(sample: CalibrationSample, settings: CalibrationSettings) -> dict[str, float]:
    """Return the held-out IVR of the default method, of one threshold and of fairlearn, where each FPR is the budget.

    Fairlearn cannot be moved after it was fitted, so the other two are held to the FPR that it realises.
    """
    generator = np.random.default_rng(1)
    clicks = np.flatnonzero(generator.random(len(sample.scores)) < _MOST / len(sample.scores))
    half = generator.integers(0, 2, len(sample.scores)).astype(np.bool_)
    chosen = np.zeros(len(half), np.bool_)
    chosen[clicks] = True
    fitted, rest = sample[chosen & half], sample[chosen & ~half]
    marked = _fairlearn(fitted, rest, settings.fpr_budget)
    realised = float(marked[rest.purchased].mean())
    found = {"ivr_fairlearn": float(marked.mean()), "fpr_fairlearn": realised}
    for name, method in (("ivr_default", settings.method), ("ivr_global", "one_threshold")):
        u = u_of(extensions.load(METHODS, method).fit(fitted, settings), rest)
        found[name] = float((u > level_at(u, rest.purchased, realised)).mean())
    return found


def _fairlearn(fitted: CalibrationSample, rest: CalibrationSample, budget: float) -> NDArray[np.bool_]:
    """Return what fairlearn marks of the rest, with as few copies of each purchase as keep the budget."""
    least, most = 1, _MOST_COPIES
    best = np.zeros(len(rest.scores), np.bool_)
    for _ in range(_BISECTIONS):
        copies = int(np.sqrt(least * most))
        optimizer = _fit(fitted, copies)
        if _marks(optimizer, fitted)[fitted.purchased].mean() > budget:
            least = copies
        else:
            most, best = copies, _marks(optimizer, rest)
        if most - least <= 1:
            break
    return best


def _fit(sample: CalibrationSample, copies: int) -> ThresholdOptimizer:
    rows = np.repeat(np.arange(len(sample.scores)), np.where(sample.purchased, copies, 1))
    optimizer = ThresholdOptimizer(
        estimator=_Scores(), constraints="false_positive_rate_parity", prefit=True, predict_method="predict"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.fit(
            pd.DataFrame({"score": sample.scores[rows].astype(np.float64)}),
            (~sample.purchased[rows]).astype(np.int64),
            sensitive_features=sample.slices[rows],
        )
    return optimizer


def _marks(optimizer: ThresholdOptimizer, sample: CalibrationSample) -> NDArray[np.bool_]:
    """Return the marks; a threshold between two others is drawn at random, always the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optimizer.predict(
            pd.DataFrame({"score": sample.scores.astype(np.float64)}),
            sensitive_features=sample.slices,
            random_state=1,
        )
    return np.asarray(found).astype(np.bool_)
