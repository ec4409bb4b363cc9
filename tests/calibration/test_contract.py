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
from slidr.calibration.calibrate import METHODS, Calibration, calibrate
from slidr.calibration.level import u_of
from slidr.calibration.ranking import Ranking, thresholds
from slidr.calibration.sample import CalibrationSample
from slidr.errors import CalibrationError, InfeasibleBudgetError
from slidr.metrics import allowed
from slidr.settings import CalibrationSettings
from slidr.slices import ROOT, ancestors
from slidr.tables import Threshold

NAMES = extensions.names(METHODS)
Draw = Callable[[int, int], CalibrationSample]


@pytest.fixture(scope="module", params=NAMES)
def asked(request: pytest.FixtureRequest) -> CalibrationSettings:
    """Ask for every method that the package holds, without a certificate."""
    return CalibrationSettings(method=request.param, certificate="off", minimum_purchases=100)


def with_settings(asked: CalibrationSettings, **changes: object) -> CalibrationSettings:
    """Return the settings with some keys changed."""
    return msgspec.structs.replace(asked, **changes)


def made(sample: CalibrationSample, asked: CalibrationSettings) -> Calibration:
    """Calibrate with a generator of one seed."""
    return calibrate(sample, asked, generator=np.random.default_rng(5))


def ranked(sample: CalibrationSample, asked: CalibrationSettings) -> Ranking:
    """Return the ranking of a method."""
    found: Ranking = extensions.load(METHODS, asked.method).fit(sample, asked)
    return found


def marks(sample: CalibrationSample, rows: tuple[Threshold, ...]) -> np.ndarray:
    """Mark clicks as serving does: by the threshold of the nearest slice that has one, float32 against float32."""
    limits = {row.slice: np.float32(row.threshold) for row in rows}
    nearest = [next(above for above in ancestors(path) if above in limits) for path in sample.paths]
    return sample.scores > np.array([limits[path] for path in nearest])[sample.slices]


def refusal(sample: CalibrationSample, asked: CalibrationSettings) -> InfeasibleBudgetError | None:
    """Return the error of an infeasible budget, or None where it is feasible."""
    try:
        made(sample, asked)
    except InfeasibleBudgetError as error:
        return error
    return None


def test_the_setting_names_every_method() -> None:
    """`calibration.method` offers exactly the methods that there are."""
    offered = typing.get_type_hints(CalibrationSettings)["method"]
    assert set(typing.get_args(offered)) == set(NAMES)


def test_the_same_sample_gives_the_same_thresholds(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """A calibration draws at random from the generator alone."""
    assert made(sample, asked) == made(sample, asked)


def test_every_slice_and_everything_above_has_a_threshold(
    asked: CalibrationSettings, sample: CalibrationSample
) -> None:
    """Rows cover the slices with clicks, their ancestors and the root, once each, the root first."""
    wider = replace(sample, paths=(*sample.paths, "device=watch/logged_in=true"))
    rows = made(wider, asked).thresholds
    assert rows[0].slice == ROOT
    assert len({row.slice for row in rows}) == len(rows)
    assert {row.slice for row in rows} == {above for path in sample.paths for above in ancestors(path)}


@pytest.mark.parametrize("coverage", [0.0, 0.5])
def test_rows_tell_what_their_thresholds_do(
    asked: CalibrationSettings, sample: CalibrationSample, coverage: float
) -> None:
    """IVR, FPR, coverage and counts of every row are those of the clicks in the slice, marked as serving marks them."""
    rows = made(sample, with_settings(asked, minimum_coverage=coverage, fpr_budget=0.3)).thresholds
    marked = marks(sample, rows)
    for row in rows:
        within = np.array([row.slice in ancestors(path) for path in sample.paths])[sample.slices]
        assert row.clicks == within.sum()
        assert row.purchases == sample.purchased[within].sum()
        assert row.ivr == marked[within].mean()
        assert row.fpr == marked[within & sample.purchased].mean()
        assert row.coverage == marked[within & sample.busy].mean()


@settings(deadline=None, max_examples=25)
@given(size=st.integers(2, 3000), seed=st.integers(0, 2**32), level=st.floats(0, 1), values=st.data())
def test_thresholds_mark_exactly_what_the_level_does(
    asked: CalibrationSettings, draw_sample: Draw, size: int, seed: int, level: float, values: st.DataObject
) -> None:
    """(score > threshold) == (u > level) for any float32 score of [0, 1], and u never falls as the score rises."""
    sample = draw_sample(size, seed)
    ranking = ranked(sample, asked)
    u = u_of(ranking, sample)
    chosen = float(np.quantile(u, level))
    limits = thresholds(ranking, chosen)
    drawn = values.draw(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
    near = np.concatenate([np.nextafter(limits, np.float32(end)) for end in (-1, 0.5, 2)])
    known = (np.array(drawn, np.float32), sample.scores, np.clip(near, 0, 1))
    scores = np.unique(np.concatenate(known)).astype(np.float32)
    for code in range(len(ranking.paths)):
        found = ranking.u(scores, np.full(len(scores), code))
        assert (np.diff(found) >= 0).all()
        assert ((scores > limits[code]) == (found > chosen)).all()


@settings(deadline=None, max_examples=25)
@given(size=st.integers(2, 3000), seed=st.integers(0, 2**32), budget=st.floats(1e-4, 0.5))
def test_the_budget_is_kept(asked: CalibrationSettings, draw_sample: Draw, size: int, seed: int, budget: float) -> None:
    """On the calibration's own clicks no more purchasing clicks are marked than the budget allows."""
    sample = draw_sample(size, seed)
    marked = marks(sample, made(sample, with_settings(asked, fpr_budget=budget)).thresholds)
    assert (marked & sample.purchased).sum() <= allowed(budget, int(sample.purchased.sum()))


def test_the_whole_budget_is_spent(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """Where scores are distinct, whole clicks leave none of the budget unused."""
    assert made(sample, asked).thresholds[0].fpr == int(0.005 * sample.purchased.sum()) / sample.purchased.sum()


def test_more_budget_never_marks_less(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """The overall IVR does not fall as the budget grows."""
    budgets = (0.001, 0.005, 0.02, 0.05)
    shares = [made(sample, with_settings(asked, fpr_budget=budget)).thresholds[0].ivr or 0.0 for budget in budgets]
    assert shares == sorted(shares)


@settings(deadline=None, max_examples=15)
@given(size=st.integers(50, 3000), seed=st.integers(0, 2**32), coverage=st.floats(0.01, 0.99))
def test_the_least_feasible_budget_is_feasible(
    asked: CalibrationSettings, draw_sample: Draw, size: int, seed: int, coverage: float
) -> None:
    """A refusal names slices and a budget that is then kept together with the coverage, and less would not do."""
    sample = draw_sample(size, seed)
    wanted = with_settings(asked, fpr_budget=1e-9, minimum_coverage=coverage)
    refused = refusal(sample, wanted)
    if refused:
        assert refused.slices
        assert set(refused.slices) <= set(sample.paths)
        less = refused.least_feasible - 0.5 / sample.purchased.sum()
        assert refusal(sample, with_settings(wanted, fpr_budget=less))
        wanted = with_settings(wanted, fpr_budget=min(refused.least_feasible, 1 - 1e-9))
    if wanted.fpr_budget > 0.99:
        return
    for row in made(sample, wanted).thresholds:
        if row.slice in sample.paths and row.coverage is not None:
            assert row.coverage >= coverage - 1e-9


def test_coverage_is_null_without_busy_clicks(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """Where no click is busy, coverage is null and bounds nothing."""
    calm = replace(sample, busy=np.zeros(len(sample.scores), dtype=np.bool_))
    rows = made(calm, with_settings(asked, minimum_coverage=0.9)).thresholds
    assert all(row.coverage is None for row in rows)
    assert rows == made(calm, asked).thresholds


def test_equal_scores_are_refused(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """Where all scores are equal no threshold tells clicks apart, and the error says so."""
    flat = replace(sample, scores=np.full(len(sample.scores), 0.5, dtype=np.float32))
    with pytest.raises(CalibrationError, match=r"all 40000 scores are 0\.5"):
        made(flat, asked)


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.0, float("nan")])
def test_a_budget_that_is_no_share_is_refused(
    asked: CalibrationSettings, sample: CalibrationSample, budget: float
) -> None:
    """A budget of 0, 1 or beyond is named in the error."""
    with pytest.raises(CalibrationError, match=rf"calibration\.fpr_budget = {budget} is not between 0 and 1"):
        made(sample, with_settings(asked, fpr_budget=budget))


def test_one_slice_is_calibrated(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """Without slice columns there is one threshold, where the budget of the only slice puts it."""
    whole = replace(sample, slices=np.zeros_like(sample.slices), paths=(ROOT,))
    (row,) = made(whole, asked).thresholds
    (one,) = made(whole, with_settings(asked, method="one_threshold")).thresholds
    assert row.threshold == pytest.approx(one.threshold, abs=1e-3)


def test_one_purchase_is_enough(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """A day with one purchase is calibrated, and that purchase is not marked."""
    lone = replace(sample, purchaser=np.where(np.arange(len(sample.scores)) == 17, 0, -1))
    assert made(lone, asked).thresholds[0].fpr == 0


def test_purchases_in_one_slice_only(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """Slices without purchases are not marked whole: silence is no proof of robots."""
    there = sample.slices == sample.paths.index("device=desktop/logged_in=true")
    rows = made(replace(sample, purchaser=np.where(there, sample.purchaser, -1)), asked).thresholds
    assert all((row.ivr or 0.0) < 0.7 for row in rows)


def test_one_buyer_with_half_of_all_purchases(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """The budget is kept in clicks whoever made them."""
    purchaser = sample.purchaser.copy()
    bought = np.flatnonzero(sample.purchased)
    purchaser[bought[: len(bought) // 2]] = 10**9
    rows = made(replace(sample, purchaser=purchaser), asked).thresholds
    assert rows[0].fpr is not None
    assert rows[0].fpr <= 0.005


def test_few_distinct_scores(asked: CalibrationSettings, sample: CalibrationSample) -> None:
    """Scores that take three values, 0 and 1 among them, are calibrated within the budget."""
    scores = (np.round(sample.scores * 2) / 2).astype(np.float32)
    rows = made(replace(sample, scores=scores), with_settings(asked, fpr_budget=0.2)).thresholds
    assert rows[0].fpr is not None
    assert rows[0].fpr <= 0.2


def test_ten_thousand_slices_most_without_purchases(asked: CalibrationSettings) -> None:
    """Many slices, nine of ten without a purchase, are calibrated within the budget."""
    generator = np.random.default_rng(3)
    clicks, shops = 200_000, 10_000
    shop = generator.integers(0, shops, clicks).astype(np.int32)
    bought = (shop < 1000) & (generator.random(clicks) < 0.2)
    scores = np.clip(generator.random(clicks) - 0.3 * bought, 0, 1).astype(np.float32)
    paths = tuple(f"shop={number}" for number in range(shops))
    sample = CalibrationSample(scores, np.where(bought, np.arange(clicks), -1), scores > 2, shop, paths)
    rows = made(sample, asked).thresholds
    assert len(rows) == shops + 1
    assert rows[0].fpr is not None
    assert rows[0].fpr <= 0.005
