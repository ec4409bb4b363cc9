from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import beta

from slidr import metrics
from slidr.clock import HOUR, MINUTE, SECOND
from slidr.errors import CalibrationError

SCORES = st.integers(0, 8).map(lambda eighths: eighths / 8)


@st.composite
def scored(draw: st.DrawFn) -> tuple[metrics.Float32s, metrics.Bools]:
    """Draw scores with many ties, and purchases, at least one."""
    size = draw(st.integers(1, 40))
    scores = draw(arrays.arrays(np.float32, size, elements=SCORES))
    purchased = draw(arrays.arrays(np.bool_, size))
    purchased[draw(st.integers(0, size - 1))] = True
    return scores, purchased


def test_shares_that_cannot_be_measured_are_none() -> None:
    """FPR without purchases and coverage without busy clicks are None, never zero."""
    nothing = np.zeros(3, dtype=np.bool_)
    assert metrics.fpr(~nothing, nothing) is None
    assert metrics.coverage(~nothing, nothing) is None


def test_no_clicks_have_no_ivr() -> None:
    """An IVR of no clicks is refused."""
    with pytest.raises(CalibrationError, match="needs clicks"):
        metrics.ivr(np.zeros(0, dtype=np.bool_))


def test_a_curve_without_purchases_is_refused() -> None:
    """Without a purchase there is no curve, and the message says how many clicks there were."""
    with pytest.raises(CalibrationError, match="none of 5 clicks"):
        metrics.curve(np.zeros(5, dtype=np.float32), np.zeros(5, dtype=np.bool_))


@given(scored())
def test_a_curve_is_exact_at_each_of_its_thresholds(sample: tuple[metrics.Float32s, metrics.Bools]) -> None:
    """Marking by a curve's threshold gives the curve's IVR and FPR, both monotone."""
    scores, purchased = sample
    curve = metrics.curve(scores, purchased)
    for threshold, ivr, fpr in zip(curve.threshold, curve.ivr, curve.fpr, strict=True):
        assert metrics.ivr(scores > threshold) == ivr
        assert metrics.fpr(scores > threshold, purchased) == fpr
    assert (np.diff(curve.ivr) >= 0).all()
    assert (np.diff(curve.fpr) > 0).all()
    assert (curve.fpr[0], curve.fpr[-1], curve.ivr[-1]) == (0, 1, 1)


@given(scored(), st.floats(0, 1))
def test_threshold_at_is_the_smallest_that_keeps_the_budget(
    sample: tuple[metrics.Float32s, metrics.Bools], budget: float
) -> None:
    """The threshold keeps the budget, and any smaller threshold breaks it."""
    scores, purchased = sample
    threshold = np.float32(metrics.threshold_at(metrics.curve(scores, purchased), budget))
    kept = metrics.fpr(scores > threshold, purchased)
    assert kept is not None
    assert kept <= budget + 1e-9
    if threshold >= 0:
        below = metrics.fpr(scores > np.nextafter(threshold, np.float32(-1)), purchased)
        assert below is not None
        assert below > budget


@given(st.integers(1, 10_000), st.data())
def test_a_budget_that_is_a_whole_number_of_purchases_is_spent_whole(purchases: int, data: st.DataObject) -> None:
    """K of n purchases, given as the share k / n, allow k purchases and no more."""
    count = data.draw(st.integers(0, purchases))
    assert metrics.allowed(count / purchases, purchases) == count


def test_the_knee_is_where_the_curve_turns() -> None:
    """A curve that rises steeply and then flattens has its knee at the turn."""
    people = np.linspace(0, 0.4, 100, dtype=np.float32)
    robots = np.linspace(0.5, 1, 100, dtype=np.float32)
    scores = np.concatenate((people, robots))
    knee = metrics.knee(metrics.curve(scores, np.arange(200) < 100))
    assert knee == pytest.approx(0.4)


def test_a_session_is_busy_in_any_hour() -> None:
    """Three clicks within 50 minutes across a full hour make a session busy at K = 2, and all its clicks with it."""
    times = np.array([0, 50, 70, 95, 0, 61, 122]) * MINUTE
    sessions = np.array([7, 7, 7, 7, 3, 3, 3])
    assert metrics.busy(sessions, times, 2).tolist() == [True] * 4 + [False] * 3


def test_exactly_an_hour_apart_is_not_within_an_hour() -> None:
    """The hour is half open: clicks at 0:00 and 1:00 are not in one hour."""
    assert not metrics.busy(np.array([1, 1]), np.array([0, HOUR]), 1).any()
    assert metrics.busy(np.array([1, 1]), np.array([0, HOUR - 1]), 1).all()


def test_clicks_without_session_are_never_busy() -> None:
    """Negative codes say that there is no session, so they are not one big session."""
    assert not metrics.busy(np.full(10, -1), np.zeros(10, dtype=np.int64), 3).any()


def test_no_clicks_are_not_busy() -> None:
    """An empty log is no error."""
    assert metrics.busy(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 3).size == 0


@pytest.mark.parametrize(("marked", "total"), [(0, 10), (1, 240), (5, 1000), (500, 1000), (10, 10), (90_000, 100_000)])
def test_clopper_pearson_agrees_with_the_beta_quantiles(marked: int, total: int) -> None:
    """The bisected bounds are the quantiles of the beta distribution."""
    low, high = metrics.clopper_pearson(marked, total, 0.9)
    assert low == pytest.approx(beta.ppf(0.05, marked, total - marked + 1) if marked else 0.0, abs=1e-9)
    assert high == pytest.approx(beta.ppf(0.95, marked + 1, total - marked) if marked < total else 1.0, abs=1e-9)


@given(st.integers(1, 2000), st.data())
def test_intervals_hold_the_share_that_was_seen(total: int, data: st.DataObject) -> None:
    """Both intervals lie in [0, 1] around the observed share."""
    marked = data.draw(st.integers(0, total))
    for interval in (metrics.wilson, metrics.clopper_pearson):
        low, high = interval(marked, total)
        assert 0 <= low <= marked / total + 1e-12
        assert marked / total - 1e-12 <= high <= 1


@pytest.mark.parametrize(("marked", "total", "confidence"), [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_impossible_counts_are_refused(marked: int, total: int, confidence: float) -> None:
    """Counts that no log can have are refused with the counts named."""
    with pytest.raises(CalibrationError, match=f"{marked} of {total}"):
        metrics.wilson(marked, total, confidence)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 hypothesis takes naive bounds
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_hours_of_week_follow_the_local_clock(moment: datetime, zone: str) -> None:
    """The hour of the week is what the calendar says in that zone, summer time and odd offsets included."""
    local = moment.astimezone(ZoneInfo(zone))
    times = np.array([int(moment.timestamp()) * SECOND])
    assert metrics.hours_of_week(times, zone).tolist() == [local.weekday() * 24 + local.hour]


def test_human_density_counts_by_local_hour() -> None:
    """A Monday noon in Berlin with one human among four clicks reads 0.25 there and NaN elsewhere."""
    noon = int(datetime(2026, 3, 2, 12, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * SECOND
    density = metrics.human_density(np.full(4, noon), np.arange(4) == 0, "Europe/Berlin")
    assert density.shape == (7, 24)
    assert density[0, 12] == 0.25
    assert np.isnan(density).sum() == 167
