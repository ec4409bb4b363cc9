from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidr.calibration.curves import Quadratics
from slidr.calibration.program import SliceProgram
from slidr.errors import CalibrationError
from slidr.metrics import Float64s


def drawn(slices: int, seed: int, *, floors: bool = False) -> SliceProgram:
    """Draw a feasible program of this many slices."""
    generator = np.random.default_rng(seed)
    w, h = generator.dirichlet(np.ones(slices)), generator.dirichlet(np.ones(slices))
    q = Quadratics(-generator.uniform(1, 30, slices), generator.uniform(0, 5, slices), generator.random(slices))
    lo = generator.uniform(0, 0.004, slices) * floors
    return SliceProgram(w, h, q, lo, np.full(slices, 0.1), 0.005)


def by_price(program: SliceProgram) -> Float64s:
    """Solve by the optimality condition: one price of a purchasing click for all slices, found by bisection."""
    w, h, q = program.w, program.h, program.q

    def at(price: float) -> Float64s:
        return np.clip((price * h / w - q.b) / (2 * q.a), program.lo, program.hi)

    low, high = 0.0, 1e9
    if h @ at(low) <= program.budget:
        return at(low)
    for _ in range(200):
        price = (low + high) / 2
        low, high = (price, high) if h @ at(price) > program.budget else (low, price)
    return at(high)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(0, 2**32), st.booleans())
def test_the_optimum_is_that_of_the_optimality_condition(slices: int, seed: int, floors: bool) -> None:  # noqa: FBT001 drawn
    """The solver's optimum agrees with the closed form to 1e-6, within all bounds."""
    program = drawn(slices, seed, floors=floors)
    found, expected = program.solve(), by_price(program)
    assert program.w @ program.q(found) == pytest.approx(program.w @ program.q(expected), abs=1e-6)
    assert program.h @ found <= program.budget + 1e-7
    assert ((found >= program.lo) & (found <= program.hi)).all()


def test_ten_thousand_slices_are_solved_to_the_same_optimum() -> None:
    """The optimum of the largest program that the design asks for agrees to 1e-6 too."""
    program = drawn(10_000, 1)
    assert program.w @ program.q(program.solve()) == pytest.approx(program.w @ program.q(by_price(program)), abs=1e-6)


def test_lines_spend_the_budget_on_the_steepest() -> None:
    """With straight curves the whole budget goes where a purchasing click buys most."""
    half = np.full(2, 0.5)
    q = Quadratics(np.zeros(2), np.array([1.0, 2.0]), np.zeros(2))
    found = SliceProgram(half, half, q, np.zeros(2), np.full(2, 0.1), 0.02).solve()
    np.testing.assert_allclose(found, [0, 0.04], atol=1e-6)


def test_a_slice_held_at_its_floor_stays_there() -> None:
    """A slice whose floor is its ceiling leaves the rest of the budget to the others."""
    half = np.full(2, 0.5)
    q = Quadratics(np.array([-1.0, -1.0]), np.array([2.0, 2.0]), np.zeros(2))
    found = SliceProgram(half, half, q, np.array([0.15, 0]), np.array([0.15, 0.1]), 0.1).solve()
    np.testing.assert_allclose(found, [0.15, 0.05], atol=1e-5)


def test_a_curve_that_bends_upwards_is_refused() -> None:
    """The program is checked to be concave when it is built, not when it is solved."""
    one = np.ones(1)
    with pytest.raises(CalibrationError, match="1 of 1 fitted curves have a > 0"):
        SliceProgram(one, one, Quadratics(one, one, one), 0 * one, 0.1 * one, 0.01)


def test_an_infeasible_program_is_an_error() -> None:
    """Floors above the budget never come back as thresholds."""
    one = np.ones(1)
    with pytest.raises(CalibrationError, match="infeasible"):
        SliceProgram(one, one, Quadratics(-one, one, one), 0.5 * one, 0.6 * one, 0.01).solve()
