"""Arithmetic: tables instead of library functions, close to them and exact where that is promised."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import DAY, HOUR
from slidr.features.arithmetic import CELLS, ESTIMATES, decay, hour_on_circle, weekday_on_circle

MOMENTS = st.integers(0, 4_000_000_000_000_000)


@given(st.floats(0, 80 * HOUR), st.sampled_from([60e6, 600e6, 3600e6]))
def test_decay_is_close_to_the_power(age: float, half_life: float) -> None:
    """The decay is within 1e-7 of 2^-(age / half-life)."""
    assert decay(age, half_life) == pytest.approx(2 ** -(age / half_life), abs=1e-7)


@given(st.integers(0, 59), st.floats(1, 1e12))
def test_whole_half_lives_are_exact(halvings: int, half_life: float) -> None:
    """After whole half-lives the decay is a power of two to the last bit."""
    assert decay(halvings * half_life, half_life) == pytest.approx(0.5**halvings, rel=1e-12)
    assert decay(float(halvings), 1.0) == 0.5**halvings


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_decay_never_rises(one: float, other: float) -> None:
    """Older is never heavier, and after sixty half-lives nothing is left."""
    younger, older = sorted([one, other])
    assert 0 <= decay(older, 1000.0) <= decay(younger, 1000.0) <= 1
    assert decay(60_000.0, 1000.0) == 0


@given(MOMENTS)
def test_the_hour_is_a_point_near_the_circle(moment: int) -> None:
    """Hour of day follows cosine and sine, within the chord between whole hours, and repeats daily."""
    angle = 2 * math.pi * (moment % DAY) / DAY
    cos, sin = hour_on_circle(moment)
    assert (cos, sin) == pytest.approx((math.cos(angle), math.sin(angle)), abs=0.009)
    assert hour_on_circle(moment + DAY) == (cos, sin)


@pytest.mark.parametrize("hour", range(24))
def test_whole_hours_lie_on_the_circle(hour: int) -> None:
    """At whole hours the chord touches the circle."""
    angle = 2 * math.pi * hour / 24
    assert hour_on_circle(hour * HOUR) == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-15)


@given(MOMENTS)
def test_the_weekday_is_a_point_on_the_circle(moment: int) -> None:
    """Day of week steps at midnight UTC, Monday at angle zero."""
    weekday = (moment // DAY + 3) % 7
    angle = 2 * math.pi * weekday / 7
    assert weekday_on_circle(moment) == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-15)


def test_monday_is_at_angle_zero() -> None:
    """2026-03-02 was a Monday."""
    assert weekday_on_circle(1_772_409_600_000_000) == (1, 0)


def test_estimates_of_distinct_values_grow() -> None:
    """More cells filled are more values, at first one each, and never fewer values than cells."""
    assert (ESTIMATES[0], ESTIMATES[1], len(ESTIMATES)) == (0, 1, CELLS + 1)
    assert (ESTIMATES[1:] > ESTIMATES[:-1]).all()
    assert all(ESTIMATES[filled] >= filled for filled in range(CELLS + 1))
    assert ESTIMATES[CELLS // 2] == pytest.approx(CELLS * math.log(2), rel=1e-3)
