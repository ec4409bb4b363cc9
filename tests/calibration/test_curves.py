from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr import metrics
from slidr.calibration.curves import Curves, coverage_floor, fit_quadratics, measure


def drawn(seed: int) -> tuple[metrics.Float32s, metrics.Bools, metrics.Int64s]:
    """Draw scores with ties, purchases and four groups, of which each has a purchase."""
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random(200), int(generator.integers(1, 4))).astype(np.float32)
    groups = generator.integers(0, 4, 200)
    purchased = generator.random(200) < 0.3
    groups[:4], purchased[:4] = np.arange(4), True
    return scores, purchased, groups


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_thresholds_are_those_of_one_curve_at_a_time(seed: int, count: int) -> None:
    """Measured at once, every group's threshold is what its own curve gives for the same number of purchases."""
    scores, purchased, groups = drawn(seed)
    curves = measure(scores, purchased, groups, 4)
    thresholds = curves.threshold(np.full(4, count))
    for one in range(4):
        alone = metrics.curve(scores[groups == one], purchased[groups == one])
        assert thresholds[one] == np.float32(metrics.threshold_at(alone, min(count / alone.purchases, 1)))
        mine = curves.group == one
        ranks, first = np.unique(curves.rank[mine], return_index=True)
        np.testing.assert_array_equal(ranks / alone.purchases, alone.fpr[:-1])
        np.testing.assert_array_equal(curves.ivr[mine][first], alone.ivr[:-1])


@given(st.integers(0, 2**32), st.floats(0.01, 1))
def test_the_coverage_floor_is_the_largest_threshold_that_covers(seed: int, minimum: float) -> None:
    """At the floor the coverage holds, just above it no longer."""
    scores, busy, groups = drawn(seed)
    floors = coverage_floor(scores, busy, groups, 4, minimum)
    for one in range(4):
        mine = groups == one
        at = metrics.coverage(scores[mine] > floors[one], busy[mine])
        above = metrics.coverage(scores[mine] > np.nextafter(floors[one], np.float32(2)), busy[mine])
        assert at is not None
        assert above is not None
        assert at >= minimum - 1e-9
        assert above < minimum


def from_points(*points: tuple[list[int], list[float]]) -> Curves:
    """Make curves of 100 purchases each from ranks and IVRs."""
    sizes = [len(ranks) for ranks, _ in points]
    return Curves(
        group=np.repeat(np.arange(len(points)), sizes),
        score=np.zeros(sum(sizes), dtype=np.float32),
        rank=np.concatenate([ranks for ranks, _ in points]),
        ivr=np.concatenate([ivr for _, ivr in points]),
        start=np.cumsum([0, *sizes[:-1]]),
        clicks=np.full(len(points), 1000),
        purchases=np.full(len(points), 100),
    )


def test_a_parabola_is_found_again() -> None:
    """Points on a concave parabola give its coefficients, whatever the curve does beyond the fitted end."""
    ranks = list(range(30))
    f = np.array(ranks) / 100
    ivr = np.where(f <= 0.1, -3 * f**2 + 2 * f + 0.1, 0.9)
    found = fit_quadratics(from_points((ranks, ivr.tolist())), 0.1)
    assert [found.a[0], found.b[0], found.c[0]] == pytest.approx([-3, 2, 0.1])


def test_a_curve_that_bends_upwards_becomes_a_line() -> None:
    """Where the best parabola is convex the best line is taken."""
    ranks = list(range(11))
    f = np.array(ranks) / 100
    found = fit_quadratics(from_points((ranks, (f**2).tolist())), 0.1)
    slope, level = np.polyfit(f, f**2, 1)
    assert [found.a[0], found.b[0], found.c[0]] == pytest.approx([0, slope, level])


def test_few_points_give_a_curve_through_them() -> None:
    """One point gives a constant and two a line, beside groups with many."""
    found = fit_quadratics(from_points(([0], [0.3]), ([0, 1], [0.2, 0.25]), ([0, 0, 0], [0.1, 0.1, 0.1])), 0.05)
    np.testing.assert_allclose(found(np.zeros(3)), [0.3, 0.2, 0.1])
    np.testing.assert_allclose(found(np.full(3, 0.01))[1], 0.25)
    assert (found.a <= 0).all()
