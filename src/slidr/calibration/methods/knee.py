"""One threshold for all slices, at the knee of the IVR-FPR curve or at the budget, whichever comes first."""

from __future__ import annotations

from slidr.calibration.methods.one_threshold import ByScore
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import curve, knee
from slidr.settings import CalibrationSettings


def fit(sample: CalibrationSample, settings: CalibrationSettings) -> ByScore:
    """Return the ranking by the score, under whose knee nothing more is marked."""
    del settings
    return ByScore(sample.tree, knee(curve(sample.scores, sample.purchased)))
