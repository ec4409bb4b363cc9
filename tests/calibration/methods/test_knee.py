from __future__ import annotations

import numpy as np

from slidr import metrics
from slidr.calibration.calibrate import calibrate
from slidr.calibration.sample import CalibrationSample
from slidr.settings import CalibrationSettings


def test_the_knee_is_taken_where_the_budget_allows_it(sample: CalibrationSample) -> None:
    """With a budget beyond the knee, the knee is the threshold; with less, the budget is."""
    curve = metrics.curve(sample.scores, sample.purchased)
    for budget, expected in ((0.9, metrics.knee(curve)), (0.01, metrics.threshold_at(curve, 0.01))):
        asked = CalibrationSettings(method="knee", certificate="off", fpr_budget=budget)
        rows = calibrate(sample, asked, generator=np.random.default_rng(1)).thresholds
        assert {row.threshold for row in rows} == {expected}
