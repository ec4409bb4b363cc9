"""Neyman-Pearson: one threshold on the log-odds of purchase given score and slice, u = -logit P(purchase | x).

Marking the clicks that least likely lead to a purchase spends a budget of purchases best; that is the condition of the
slice program, met click by click. Slices borrow strength from those above them by shrinkage.
"""

from __future__ import annotations

from slidr.calibration.odds import Odds, fit_odds
from slidr.calibration.sample import CalibrationSample
from slidr.settings import CalibrationSettings


def fit(sample: CalibrationSample, settings: CalibrationSettings) -> Odds:
    """Return the ranking by the fitted log-odds."""
    return fit_odds(sample, settings.fpr_budget)
