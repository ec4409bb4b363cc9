"""Neyman-Pearson in people: each purchase stands for as many people as its slice has per purchase.

Slices that seldom convert are cheap to mark in purchases. With c_s the conversion of people in slice s,
P(purchase | x) = c_s P(person | x), so u + log c_s orders by the odds of a person. The unmarked clicks stand for the
people; what is unmarked follows from the ranking, so the two are found in turn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slidr.calibration.level import level_at_budget, u_of
from slidr.calibration.odds import Odds, fit_odds
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Float64s
from slidr.settings import CalibrationSettings
from slidr.slices import ancestors

_ROUNDS = 3
_BORROWED = 10.0  # purchases at the parent's conversion that every slice is given


def fit(sample: CalibrationSample, settings: CalibrationSettings) -> Odds:
    """Return the ranking by the log-odds of a person."""
    odds = ranking = fit_odds(sample, settings.fpr_budget)
    for _ in range(_ROUNDS):
        marked = u_of(ranking, sample) > level_at_budget(ranking, sample, settings.fpr_budget)
        ranking = replace(odds, shift=-np.log(_conversion(sample[~marked], odds.paths)))
    return ranking


def _conversion(sample: CalibrationSample, paths: tuple[str, ...]) -> Float64s:
    """Return purchases per click of every path, each shrunk towards that above it, the root first: float64[S]."""
    clicks: dict[str, float] = dict.fromkeys(paths, 0.0)
    purchases: dict[str, float] = dict.fromkeys(paths, 0.0)
    counts = np.bincount(sample.slices, minlength=len(sample.paths))
    bought = np.bincount(sample.slices, sample.purchased, minlength=len(sample.paths))
    for slice_path, count, some in zip(sample.paths, counts, bought, strict=True):
        if count:
            for above in ancestors(slice_path):
                clicks[above] += count
                purchases[above] += some
    shares: dict[str, float] = {}
    for path in paths:
        lineage = ancestors(path)
        if len(lineage) == 1:
            shares[path] = max(purchases[path], 0.5) / max(clicks[path], 1)
        else:
            shares[path] = (purchases[path] + _BORROWED) / (clicks[path] + _BORROWED / shares[lineage[1]])
    return np.array([shares[path] for path in paths])
