from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidr import extensions
from slidr.calibration.sample import CalibrationSample
from slidr.errors import CalibrationError, InfeasibleBudgetError
from slidr.metrics import allowed
from slidr.settings import CalibrationSettings
from slidr.slices import ROOT, ancestors
from slidr.tables import Threshold, ThresholdSource

PACKAGE = "slidr.calibration"
MINIMUM = 100
METHODS = tuple(name for name in extensions.names(PACKAGE) if hasattr(extensions.load(PACKAGE, name), "calibrate"))
"""A module of the package that has `calibrate` is a method; the others serve the methods."""

Calibrate = Callable[[CalibrationSample, CalibrationSettings, int], tuple[Threshold, ...]]
Draw = Callable[[int, int], CalibrationSample]


@pytest.fixture(scope="module", params=METHODS)
def calibrate(request: pytest.FixtureRequest) -> Calibrate:
    """Give every calibration method that the package holds."""
    method: Calibrate = extensions.load(PACKAGE, request.param).calibrate
    return method


def marks(sample: CalibrationSample, rows: tuple[Threshold, ...]) -> np.ndarray:
    """Mark clicks as serving does: by the threshold of the nearest slice that has one, float32 against float32."""
    thresholds = {row.slice: np.float32(row.threshold) for row in rows}
    nearest = [next(above for above in ancestors(path) if above in thresholds) for path in sample.paths]
    return sample.scores > np.array([thresholds[path] for path in nearest])[sample.slices]


def refusal(
    calibrate: Calibrate, sample: CalibrationSample, asked: CalibrationSettings
) -> InfeasibleBudgetError | None:
    """Return the error of an infeasible budget, or None where it is feasible."""
    try:
        calibrate(sample, asked, MINIMUM)
    except InfeasibleBudgetError as error:
        return error
    return None


def test_the_setting_names_every_method() -> None:
    """`calibration.method` offers exactly the methods that there are."""
    offered = typing.get_type_hints(CalibrationSettings)["method"]
    assert set(typing.get_args(offered)) == set(METHODS)


def test_the_same_sample_gives_the_same_thresholds(calibrate: Calibrate, sample: CalibrationSample) -> None:
    """Calibration draws nothing at random."""
    assert calibrate(sample, CalibrationSettings(), MINIMUM) == calibrate(sample, CalibrationSettings(), MINIMUM)


def test_every_slice_and_everything_above_has_a_threshold(calibrate: Calibrate, sample: CalibrationSample) -> None:
    """Rows cover the slices, their ancestors and the root, once each, the root first."""
    rows = calibrate(sample, CalibrationSettings(), MINIMUM)
    assert rows[0].slice == ROOT
    assert len({row.slice for row in rows}) == len(rows)
    assert {row.slice for row in rows} == {above for path in sample.paths for above in ancestors(path)}


@pytest.mark.parametrize("coverage", [0.0, 0.5])
def test_rows_tell_what_their_thresholds_do(calibrate: Calibrate, sample: CalibrationSample, coverage: float) -> None:
    """IVR, FPR, coverage and counts of every row are those of the clicks in the slice, marked as serving marks them."""
    rows = calibrate(sample, CalibrationSettings(minimum_coverage=coverage, fpr_budget=0.2), MINIMUM)
    marked = marks(sample, rows)
    for row in rows:
        within = np.array([row.slice in ancestors(path) for path in sample.paths])[sample.slices]
        assert row.clicks == within.sum()
        assert row.purchases == sample.purchased[within].sum()
        assert row.ivr == marked[within].mean()
        assert row.fpr == marked[within & sample.purchased].mean()
        assert row.coverage == marked[within & sample.busy].mean()


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32), budget=st.floats(1e-4, 0.5), minimum=st.integers(1, 200))
def test_the_budget_is_kept(
    calibrate: Calibrate, draw_sample: Draw, size: int, seed: int, budget: float, minimum: int
) -> None:
    """On the calibration's own clicks no more purchasing clicks are marked than the budget allows."""
    sample = draw_sample(size, seed)
    marked = marks(sample, calibrate(sample, CalibrationSettings(fpr_budget=budget), minimum))
    purchases = int(sample.purchased.sum())
    assert (marked & sample.purchased).sum() <= allowed(budget, purchases)


@settings(deadline=None, max_examples=40)
@given(size=st.integers(50, 3000), seed=st.integers(0, 2**32), coverage=st.floats(0.01, 0.99))
def test_the_least_feasible_budget_is_feasible(
    calibrate: Calibrate, draw_sample: Draw, size: int, seed: int, coverage: float
) -> None:
    """A refusal names a budget that is then kept together with the coverage, and that less would not do."""
    sample = draw_sample(size, seed)
    asked = CalibrationSettings(fpr_budget=1e-9, minimum_coverage=coverage)
    refused = refusal(calibrate, sample, asked)
    if refused:
        assert refused.budget == asked.fpr_budget
        assert refused.slices
        less = msgspec.structs.replace(asked, fpr_budget=refused.least_feasible - 0.5 / sample.purchased.sum())
        assert refusal(calibrate, sample, less)
        asked = msgspec.structs.replace(asked, fpr_budget=refused.least_feasible)
    rows = calibrate(sample, asked, MINIMUM)
    assert rows[0].fpr == (refused.least_feasible if refused else 0)
    if sample.busy.any():
        assert rows[0].coverage is not None
        assert rows[0].coverage >= coverage - 1e-9


def test_equal_scores_mark_nothing(calibrate: Calibrate, sample: CalibrationSample) -> None:
    """Where all scores are equal no threshold can tell clicks apart, so none is marked."""
    flat = replace(sample, scores=np.full(len(sample.scores), 0.5, dtype=np.float32))
    rows = calibrate(flat, CalibrationSettings(), MINIMUM)
    assert not marks(flat, rows).any()


def test_equal_scores_cannot_be_covered(calibrate: Calibrate, sample: CalibrationSample) -> None:
    """Where all scores are equal, any coverage marks every purchase: the least feasible budget is one."""
    flat = replace(sample, scores=np.zeros(len(sample.scores), dtype=np.float32))
    refused = refusal(calibrate, flat, CalibrationSettings(minimum_coverage=0.1))
    assert refused
    assert refused.least_feasible == 1.0


def test_coverage_is_null_without_busy_clicks(calibrate: Calibrate, sample: CalibrationSample) -> None:
    """Where no click is busy, coverage is null and bounds nothing."""
    calm = replace(sample, busy=np.zeros(len(sample.scores), dtype=np.bool_))
    rows = calibrate(calm, CalibrationSettings(minimum_coverage=0.9), MINIMUM)
    assert all(row.coverage is None for row in rows)
    plain = calibrate(calm, CalibrationSettings(), MINIMUM)
    assert rows == plain


def test_one_purchase_is_enough(calibrate: Calibrate, sample: CalibrationSample) -> None:
    """A day with one purchase is calibrated with one threshold for all, which does not mark it."""
    lone = replace(sample, purchased=np.arange(len(sample.scores)) == 17)
    rows = calibrate(lone, CalibrationSettings(), MINIMUM)
    assert {row.source for row in rows} == {ThresholdSource.GLOBAL}
    assert len({row.threshold for row in rows}) == 1
    assert rows[0].fpr == 0


def test_more_budget_never_marks_less(calibrate: Calibrate, sample: CalibrationSample) -> None:
    """The overall IVR does not fall as the budget grows."""
    shares = [calibrate(sample, CalibrationSettings(fpr_budget=b), MINIMUM)[0].ivr for b in (0.001, 0.005, 0.02, 0.05)]
    assert shares == sorted(shares)


def test_a_sample_without_purchases_is_refused(sample: CalibrationSample) -> None:
    """No method is ever asked to calibrate without purchases; the message says where to look."""
    with pytest.raises(CalibrationError, match=r"none of 40000 clicks led to a purchase.*attribution window"):
        replace(sample, purchased=np.zeros(len(sample.scores), dtype=np.bool_))
