from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from slidr.calibration import knee, slices
from slidr.calibration.sample import CalibrationSample
from slidr.errors import InfeasibleBudgetError
from slidr.settings import CalibrationSettings
from slidr.slices import ROOT
from slidr.tables import ThresholdSource

OWN, PARENT, GLOBAL = ThresholdSource


def test_the_whole_budget_is_spent(sample: CalibrationSample) -> None:
    """Where scores are distinct, rounding to whole clicks leaves none of the budget unused."""
    rows = slices.calibrate(sample, CalibrationSettings(), 100)
    assert rows[0].fpr == int(0.005 * sample.purchased.sum()) / sample.purchased.sum()


def test_slices_invalidate_more_than_one_threshold(draw_sample: Callable[[int, int], CalibrationSample]) -> None:
    """With many purchases, on the same budget, thresholds by slice mark more clicks than one for all."""
    sample = draw_sample(400_000, 3)
    settings = CalibrationSettings()
    assert slices.calibrate(sample, settings, 100)[0].ivr > knee.calibrate(sample, settings, 100)[0].ivr


def test_small_slices_borrow_and_say_so(sample: CalibrationSample) -> None:
    """A slice below the minimum takes its parent's threshold where that has enough, and else the root's."""
    rows = {row.slice: row for row in slices.calibrate(sample, CalibrationSettings(), 250)}
    purchases = {path: row.purchases for path, row in rows.items()}
    assert purchases["device=mobile/logged_in=true"] < 250 <= purchases["device=desktop/logged_in=true"]
    assert rows["device=desktop/logged_in=true"].source == OWN
    assert rows["device=mobile/logged_in=true"].threshold == rows["device=mobile"].threshold
    assert rows["device=mobile/logged_in=true"].source == PARENT
    assert rows["device=mobile"].source == OWN
    assert rows[ROOT].source == GLOBAL


def test_a_rest_too_small_takes_the_threshold_of_the_whole_traffic(sample: CalibrationSample) -> None:
    """What is left at the root below the minimum is judged by one threshold for all, within the budget."""
    minimum = 900
    rows = {row.slice: row for row in slices.calibrate(sample, CalibrationSettings(), minimum)}
    whole = knee.calibrate(sample, CalibrationSettings(), minimum)[0]
    assert rows["device=desktop"].source == OWN
    assert rows["device=mobile/logged_in=true"].source == GLOBAL
    assert rows["device=mobile/logged_in=true"].threshold == whole.threshold
    assert rows[ROOT].threshold == whole.threshold


def test_every_group_keeps_the_minimum_coverage(sample: CalibrationSample) -> None:
    """Every slice that is calibrated on its own marks the share of busy clicks that is asked for."""
    rows = slices.calibrate(sample, CalibrationSettings(minimum_coverage=0.6, fpr_budget=0.3), 100)
    owners = [row for row in rows if row.source is OWN]
    assert owners
    assert all(row.coverage is not None and row.coverage >= 0.6 for row in owners)


def test_a_slice_without_busy_clicks_is_not_bound(sample: CalibrationSample) -> None:
    """The minimum coverage bounds only the slices in which coverage can be measured."""
    lone = sample.paths.index("device=app/logged_in=true")
    settings = CalibrationSettings(minimum_coverage=0.6, fpr_budget=0.3)
    part = replace(sample, busy=sample.busy & (sample.slices == lone))
    rows = {row.slice: row for row in slices.calibrate(part, settings, 100)}
    assert rows["device=desktop"].coverage is None
    assert rows["device=app/logged_in=true"].coverage is not None


def test_an_infeasible_budget_names_the_dearest_slice(sample: CalibrationSample) -> None:
    """The slice whose minimum coverage marks the most purchasing clicks comes first."""
    with pytest.raises(InfeasibleBudgetError) as refused:
        slices.calibrate(sample, CalibrationSettings(minimum_coverage=0.9), 100)
    assert refused.value.slices[0] == "device=app/logged_in=true"
    assert f"{refused.value.least_feasible:.6f}" in str(refused.value)


def test_paths_without_clicks_have_no_row(sample: CalibrationSample) -> None:
    """A slice that was declared and not seen takes its nearest ancestor's threshold, as any unseen value does."""
    wider = replace(sample, paths=(*sample.paths, "device=watch/logged_in=true"))
    assert slices.calibrate(wider, CalibrationSettings(), 100) == slices.calibrate(sample, CalibrationSettings(), 100)


def test_one_slice_is_calibrated_alone(sample: CalibrationSample) -> None:
    """Without slice columns the program has one slice, and spends the budget there as one threshold does."""
    whole = replace(sample, slices=np.zeros_like(sample.slices), paths=(ROOT,))
    settings = CalibrationSettings()
    assert slices.calibrate(whole, settings, 100) == knee.calibrate(whole, settings, 100)
