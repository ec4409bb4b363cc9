from __future__ import annotations

from collections.abc import Callable

from slidr.calibration.level import level_at_budget, u_of
from slidr.calibration.methods import neyman_pearson, one_threshold
from slidr.calibration.sample import CalibrationSample
from slidr.settings import CalibrationSettings


def test_it_marks_more_than_one_threshold_at_the_same_fpr(
    draw_sample: Callable[[int, int], CalibrationSample],
) -> None:
    """Ranked on one day, it marks more clicks of another day for the same share of its purchasing clicks."""
    fitted, judged = draw_sample(60_000, 1), draw_sample(400_000, 2)
    asked = CalibrationSettings()
    shares = []
    for method in (neyman_pearson, one_threshold):
        ranking = method.fit(fitted, asked)
        shares.append((u_of(ranking, judged) > level_at_budget(ranking, judged, asked.fpr_budget)).mean())
    assert shares[0] > 1.2 * shares[1]
