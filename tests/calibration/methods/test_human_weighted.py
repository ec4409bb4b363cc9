from __future__ import annotations

from collections.abc import Callable

import numpy as np

from slidr.calibration.level import level_at_budget, u_of
from slidr.calibration.methods import human_weighted, neyman_pearson
from slidr.calibration.sample import CalibrationSample
from slidr.settings import CalibrationSettings


def test_people_who_seldom_buy_are_spared(draw_sample: Callable[[int, int], CalibrationSample]) -> None:
    """Slices that convert least are marked less than by purchases alone, those that convert most more."""
    sample, asked = draw_sample(200_000, 3), CalibrationSettings()
    marked = {}
    for method in (neyman_pearson, human_weighted):
        ranking = method.fit(sample, asked)
        over = u_of(ranking, sample) > level_at_budget(ranking, sample, asked.fpr_budget)
        marked[method] = [over[sample.slices == code].mean() for code in range(len(sample.paths))]
    fewest, most = sample.paths.index("device=app/logged_in=true"), sample.paths.index("device=desktop/logged_in=true")
    assert marked[human_weighted][fewest] < marked[neyman_pearson][fewest]
    assert marked[human_weighted][most] > marked[neyman_pearson][most]


def test_each_slices_shift_is_its_conversion(sample: CalibrationSample) -> None:
    """The root's shift is the conversion of the unmarked traffic, near that of the whole."""
    ranking = human_weighted.fit(sample, CalibrationSettings())
    whole = np.log(sample.purchased.mean())
    assert abs(-ranking.shift[ranking.paths.index("all")] - whole) < 0.5
