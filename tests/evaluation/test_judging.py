from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report import samples

from slidr import metrics
from slidr.evaluation.judging import (
    Judged,
    draw_curve,
    judge_network,
    judge_slices,
    judge_totals,
    notes_on,
    thresholds_of,
)
from slidr.evaluation.results import Caught, Evaluation, FamilyCaught, KeptOut
from slidr.evaluation.truth import Truth
from slidr.simulate.truth import HUMAN
from slidr.slices import ROOT
from slidr.tables import Threshold, ThresholdSource

PATHS = ("device=app/logged_in=true", "device=app/logged_in=false", "device=tv/logged_in=true")


def threshold(path: str, value: float, source: ThresholdSource = ThresholdSource.OWN) -> Threshold:
    """Return a threshold of which only slice, value and source matter."""
    return Threshold(path, value, 0.0, None, None, 0, 0, source)


def small() -> Judged:
    """Return six clicks, two a slice, of which the first of each slice is robotic and the second bought."""
    return Judged(
        scores={"three_layer": np.array([0.9, 0.1, 0.8, 0.2, 0.7, 0.6], np.float32)},
        purchased=np.array([False, True] * 3),
        purchaser=np.array([-1, 0, -1, 1, -1, 2]),
        clicker=np.arange(6),
        busy=np.array([True, False, False, False, False, False]),
        slices=np.array([0, 0, 1, 1, 2, 2], np.int32),
        paths=PATHS,
        truth=Truth(np.array([1, 0] * 3, np.int32), (HUMAN, "burst")),
    )


def test_a_click_takes_the_threshold_of_its_nearest_ancestor() -> None:
    """A slice without a threshold takes its parent's, and where there is none, that of all traffic."""
    known = [threshold(ROOT, 0.5), threshold("device=app", 0.25), threshold(PATHS[0], 0.75)]
    found = thresholds_of(np.array([0, 1, 2, 0], np.int32), PATHS, known)
    assert found.dtype == np.float32
    assert found.tolist() == [0.75, 0.25, 0.5, 0.75]


def test_a_network_is_judged_by_hand() -> None:
    """IVR, FPR, coverage and recall are the shares that one counts by hand."""
    found = judge_network("three_layer", small(), [threshold(ROOT, 0.5)], calibration="one threshold", budget=0.4)
    assert found.ivr.value == pytest.approx(4 / 6)
    assert found.coverage.value == 1.0
    assert found.fpr.value == pytest.approx(1 / 3)
    assert found.ivr_at_budget == pytest.approx(4 / 6)
    assert found.caught == Caught(1.0, 3 / 4, 1 / 3, (FamilyCaught("burst", 3, 1.0),))
    assert found.caught_at_budget == found.caught


def test_totals_are_counted_by_hand() -> None:
    """What lists hit counts as invalidated, buyers included; what cannot be measured counts as not."""
    scores, known = small().scores["three_layer"], [threshold(ROOT, 0.5)]
    found = judge_totals(scores, small(), known, listed=KeptOut(10, 2), unmeasurable=KeptOut(4, 1))
    assert (found.clicks, found.purchases, found.reached, found.reached_purchases) == (20, 6, 6, 3)
    assert found.ivr == pytest.approx((4 + 10) / 20)
    assert found.fpr.value == pytest.approx((1 + 2) / 6)
    assert (found.fpr.low, found.fpr.high) == pytest.approx(metrics.clopper_pearson(3, 6))


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_totals_of_a_part_that_all_reaches_the_model_are_the_network_s(clicks: int, seed: int) -> None:
    """Without list hits and unmeasurable clicks the totals are the deciding network's own shares."""
    judged, none = samples.judged(clicks=clicks, seed=seed), KeptOut(0, 0)
    known = [threshold(ROOT, 0.5)]
    found = judge_totals(judged.scores["three_layer"], judged, known, listed=none, unmeasurable=none)
    alone = judge_network("three_layer", judged, known, calibration="one threshold", budget=0.1)
    assert (found.ivr, found.fpr) == (alone.ivr.value, alone.fpr)
    assert (found.clicks, found.listed, found.unmeasurable) == (clicks, 0, 0)


def test_without_purchases_nothing_stands_at_the_budget() -> None:
    """Without purchases the FPR and the IVR at equal FPR are None, never zero."""
    result = samples.bare().networks[0]
    assert result.fpr.value is None
    assert result.ivr_at_budget is None


def test_a_slice_says_whose_threshold_it_took() -> None:
    """The source is own for a slice's own threshold, parent or global for a borrowed one."""
    known = [threshold(ROOT, 0.5), threshold("device=app", 0.25), threshold(PATHS[0], 0.75)]
    judged = small()
    found = {result.slice: result for result in judge_slices(judged.scores["three_layer"], judged, known)}
    assert {name: result.source.value for name, result in found.items()} == {
        ROOT: "own",
        PATHS[0]: "own",
        PATHS[1]: "parent",
        PATHS[2]: "global",
    }
    assert found[PATHS[0]].coverage.value == 1.0
    assert found[PATHS[1]].coverage.value is None
    assert (found[PATHS[0]].recall, found[PATHS[0]].true_fpr) == (1.0, 0.0)


@given(st.integers(1, 300), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_slices_add_up_to_all_traffic(clicks: int, slices: int, seed: int) -> None:
    """Clicks, purchases and marked clicks of the slices add up to those of the root."""
    judged = samples.judged(clicks=clicks, slices=slices, seed=seed)
    found = judge_slices(judged.scores["three_layer"], judged, [threshold(ROOT, 0.5)])
    whole, parts = found[0], found[1:]
    assert whole.slice == ROOT
    assert whole.clicks == sum(part.clicks for part in parts) == clicks
    assert whole.purchases == sum(part.purchases for part in parts)
    assert (whole.ivr.value or 0) * clicks == pytest.approx(sum((part.ivr.value or 0) * part.clicks for part in parts))


@given(st.integers(1, 2000), st.integers(0, 2**32 - 1))
def test_a_drawn_curve_is_the_curve_thinned(clicks: int, seed: int) -> None:
    """Drawn points are points of the exact curve, in order, from the strictest threshold to marking everything."""
    generator = np.random.default_rng(seed)
    scores = generator.random(clicks, dtype=np.float32)
    purchased = generator.random(clicks) < 0.3
    drawn = draw_curve("n", scores, purchased, scores > np.float32(0.5))
    if not purchased.any():
        assert drawn is None
        return
    assert drawn is not None
    assert drawn.point is not None
    exact = metrics.curve(scores, purchased)
    points = list(zip(drawn.fpr, drawn.ivr, strict=True))
    assert set(points) <= set(zip(exact.fpr.tolist(), exact.ivr.tolist(), strict=True))
    assert points == sorted(points)
    assert (points[0][0], points[-1]) == (0.0, (1.0, 1.0))
    assert len(points) <= 400


def test_notes_warn_of_what_the_data_cannot_show() -> None:
    """Too few purchases, borrowed thresholds and an unknown truth are each said; a rich simulated log needs no note."""
    notes = " ".join(samples.bare().notes)
    assert "0 purchasing clicks" in notes
    assert "598 cannot show an FPR below 0.5 %" in notes
    assert "6 slices had too few purchases" in notes
    assert "The truth is not known" in notes
    assert samples.evaluation(clicks=60_000, slices=2).notes == ()


def test_one_slice_is_counted_in_the_singular() -> None:
    """A note on a single slice reads as English."""
    sample = small()
    known = [threshold(ROOT, 0.5), threshold("device=app", 0.2), threshold(PATHS[0], 0.5), threshold(PATHS[1], 0.5)]
    notes = notes_on(sample, judge_slices(sample.scores["three_layer"], sample, known), budget=0.5, calibrated_on=10)
    assert any(note.startswith("1 slice had") for note in notes)


def test_an_evaluation_survives_json() -> None:
    """An evaluation written as JSON reads back as it was, hours without clicks included."""
    before = samples.evaluation(clicks=3000)
    after = msgspec.json.decode(msgspec.json.encode(before), type=Evaluation)
    assert after == before


def test_a_budget_of_less_than_one_purchase_is_told() -> None:
    """Where the budget buys no purchasing click of the calibration part, the reader learns what sets the threshold."""
    sample = small()
    found = judge_slices(sample.scores["three_layer"], sample, [threshold(ROOT, 0.5)])
    for calibrated_on, told in ((26, True), (200, False)):
        notes = notes_on(sample, found, budget=0.005, calibrated_on=calibrated_on)
        assert any("is less than one" in note for note in notes) == told
