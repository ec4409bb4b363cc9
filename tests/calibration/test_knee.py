from __future__ import annotations

import numpy as np

from slidr import metrics
from slidr.calibration import knee
from slidr.calibration.sample import CalibrationSample
from slidr.settings import CalibrationSettings


def test_the_knee_is_taken_where_the_budget_allows_it(sample: CalibrationSample) -> None:
    """With a budget beyond the knee, the knee is the threshold; with less, the budget is."""
    found = metrics.curve(sample.scores, sample.purchased)
    generous = knee.calibrate(sample, CalibrationSettings(fpr_budget=0.9), 1)
    assert generous[0].threshold == metrics.knee(found)
    tight = knee.calibrate(sample, CalibrationSettings(fpr_budget=0.01), 1)
    assert tight[0].threshold == metrics.threshold_at(found, 0.01)


def test_all_slices_share_one_threshold(sample: CalibrationSample) -> None:
    """The minimum of purchases splits nothing here."""
    assert np.unique([row.threshold for row in knee.calibrate(sample, CalibrationSettings(), 1)]).size == 1
