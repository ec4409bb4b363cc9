from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from cvxpy.atoms.affine.binary_operators import multiply
from hypothesis import given, settings
from hypothesis import strategies as st

from slidr.calibration.curves import Curves, measure
from slidr.calibration.grouping import group
from slidr.calibration.level import level_at_budget, u_of
from slidr.calibration.methods.quadratic import Quadratics, fit, fit_quadratics
from slidr.calibration.sample import CalibrationSample
from slidr.settings import CalibrationSettings


def solve(curves: Curves, q: Quadratics, fit_to_fpr: float, budget: float) -> float:
    """Return the optimal value of the slice program of the paper, word for word."""
    w = curves.clicks / curves.clicks.sum()
    h = curves.purchases / curves.purchases.sum()
    f = cp.Variable(len(w))
    value = w @ (multiply(q.a, f**2) + multiply(q.b, f) + q.c)
    # In units of the budget: with a few thousandths on the right the solver cycles now and then.
    problem = cp.Problem(cp.Maximize(value), [f @ h / budget <= 1, f >= 0, f <= fit_to_fpr])
    problem.solve(solver=cp.CLARABEL)  # type: ignore[no-untyped-call]
    return float(problem.value)


def drawn(slices: int, seed: int) -> CalibrationSample:
    """Draw slices of some thousand clicks each that differ in conversion and in how well robots are told apart."""
    generator = np.random.default_rng(seed)
    clicks = 4_000 * slices
    code = generator.integers(0, slices, clicks).astype(np.int32)
    robot = generator.random(clicks) < generator.uniform(0.1, 0.6, slices)[code]
    logit = generator.normal(size=clicks) + robot * generator.uniform(0.5, 3, slices)[code]
    bought = ~robot & (generator.random(clicks) < generator.uniform(0.05, 0.5, slices)[code])
    scores = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return CalibrationSample(
        scores,
        np.where(bought, np.arange(clicks), -1),
        robot,
        code,
        tuple(f"shop={number}" for number in range(slices)),
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 2**32), st.floats(0.003, 0.04))
def test_the_level_is_the_optimum_of_the_program(slices: int, seed: int, budget: float) -> None:
    """What one level marks is worth as much on the fitted curves as cvxpy's optimum, but for one click a slice."""
    sample = drawn(slices, seed)
    asked = CalibrationSettings(minimum_purchases=1, fpr_budget=budget)
    grouping = group(sample, 1)
    curves = measure(sample, grouping)
    slices_alone = curves.purchases[:slices], curves.clicks[:slices]
    alone = Curves(
        **{name: getattr(curves, name)[curves.group < slices] for name in _POINTS},
        purchases=slices_alone[0],
        clicks=slices_alone[1],
    )
    q = fit_quadratics(alone, asked.fit_to_fpr)
    optimum = solve(alone, q, asked.fit_to_fpr, budget)
    ranking = fit(sample, asked)
    marked = u_of(ranking, sample) > level_at_budget(ranking, sample, budget)
    # Groups are sorted by their names, in which shop=10 comes before shop=2.
    spent = np.bincount(grouping.of_code[sample.slices[marked & sample.purchased]], minlength=slices)[:slices]
    n = alone.purchases
    w = alone.clicks / alone.clicks.sum()
    # Whole clicks in the order of their price are exact for concave curves; the program may besides split a click.
    # On a concave curve no click is worth more than the first.
    step = np.abs(w * (q(1 / n) - q(np.zeros(slices)))).sum()
    reached = float(w @ q(spent / n))
    assert reached <= optimum + 1e-6
    assert reached >= optimum - step - 1e-6
    assert spent.sum() <= budget * n.sum() + 1e-6


_POINTS = ("group", "score", "purchases_over", "clicks_over", "purchases_from")


def from_points(*curves: tuple[list[int], list[float]]) -> Curves:
    """Make curves of 100 purchases and 1,000 clicks each from purchases and shares of clicks over their points."""
    sizes = [len(over) for over, _ in curves]
    over = np.array([one for points, _ in curves for one in points])
    ivr = np.array([one for _, points in curves for one in points])
    return Curves(
        group=np.repeat(np.arange(len(curves)), sizes),
        score=(0.9 - over / 200).astype(np.float32),
        purchases_over=over,
        clicks_over=ivr * 1000,
        purchases_from=over + 1,
        clicks=np.full(len(curves), 1000),
        purchases=np.full(len(curves), 100),
    )


def test_a_parabola_is_found_again() -> None:
    """Points on a concave parabola give its coefficients, whatever the curve does beyond the fitted end."""
    over = list(range(30))
    f = np.array(over) / 100
    ivr = np.where(f <= 0.1, -3 * f**2 + 2 * f + 0.1, 0.9)
    found = fit_quadratics(from_points((over, ivr.tolist())), 0.1)
    assert [found.a[0], found.b[0], found.c[0]] == pytest.approx([-3, 2, 0.1])


def test_a_curve_that_bends_upwards_becomes_a_line() -> None:
    """Where the best parabola is convex the best line is taken."""
    over = list(range(11))
    f = np.array(over) / 100
    found = fit_quadratics(from_points((over, (f**2).tolist())), 0.1)
    slope, level = np.polyfit(f, f**2, 1)
    assert [found.a[0], found.b[0], found.c[0]] == pytest.approx([0, slope, level], abs=1e-5)


def test_few_points_give_a_curve_through_them() -> None:
    """One point gives a constant and two a line, beside groups with many."""
    found = fit_quadratics(from_points(([0], [0.3]), ([0, 1], [0.2, 0.25])), 0.05)
    np.testing.assert_allclose(found(np.zeros(2)), [0.3, 0.2])
    np.testing.assert_allclose(found(np.full(2, 0.01))[1], 0.25)
    assert (found.a < 0).all()
