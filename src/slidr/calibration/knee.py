"""One threshold for all slices, at the knee of the IVR-FPR curve or at the budget, whichever comes first."""

from __future__ import annotations

import numpy as np

from slidr.calibration.curves import coverage_floor
from slidr.calibration.grouping import everything
from slidr.calibration.rows import infeasible, threshold_rows
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import allowed, curve, knee, threshold_at
from slidr.settings import CalibrationSettings
from slidr.tables import Threshold


def calibrate(
    sample: CalibrationSample, settings: CalibrationSettings, minimum_purchases: int
) -> tuple[Threshold, ...]:
    """Return the same threshold for every slice and the root.

    The minimum coverage is asked of the whole traffic, because there is only one threshold to keep it with.

    Raises:
        InfeasibleBudgetError: the minimum coverage costs more than the budget.
    """
    del minimum_purchases  # all slices are calibrated as one
    grouping = everything(sample)
    found = curve(sample.scores, sample.purchased)
    floor = coverage_floor(sample.scores, sample.busy, grouping.of_code[sample.slices], 1, settings.minimum_coverage)
    needed = np.count_nonzero(sample.scores[sample.purchased] > floor[0])
    if needed > allowed(settings.fpr_budget, found.purchases):
        raise infeasible(settings.fpr_budget, np.array([needed]), grouping.paths, found.purchases)
    wanted = max(knee(found), threshold_at(found, settings.fpr_budget))
    return threshold_rows(sample, grouping, np.minimum(floor, np.float32(wanted)))
