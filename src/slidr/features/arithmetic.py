"""Arithmetic that gives the same bits everywhere: only + - x /, sqrt and floor on doubles, in one order.

A library's exp, log or sin may differ by a bit from one machine, language or vector width to the next, and such a bit
would make two paths disagree on a click. Their values come from tables instead, and the tables are built from the
operations that IEEE 754 rounds exactly, or shipped as constants.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slidr.features.kernel import kernel

Whole: TypeAlias = Any
"""A whole number inside a kernel; numba infers its width, which no annotation of Python can say."""

_STEPS = 1024
LN2 = 0.6931471805599453
CELLS = 2048
"""Cells of a dense distinct count."""


def _halving_powers() -> NDArray[np.float64]:
    """Return 2^-(i / _STEPS) for i = 0 .. _STEPS: between two powers lies their geometric mean."""
    powers = np.zeros(_STEPS + 1)
    powers[0], powers[_STEPS] = 1.0, 0.5
    step = _STEPS
    while step > 1:
        for low in range(0, _STEPS, step):
            powers[low + step // 2] = np.sqrt(powers[low] * powers[low + step])
        step //= 2
    return powers


def _distinct_estimates() -> NDArray[np.float64]:
    """Return how many distinct values are expected to fill k of CELLS cells, for k = 0 .. CELLS.

    It is the coupon collector's sum, the exact form of linear counting (Whang et al., "A linear-time probabilistic
    counting algorithm for database applications", 1990), and needs no logarithm.
    """
    estimates = np.zeros(CELLS + 1)
    for filled in range(CELLS):
        estimates[filled + 1] = estimates[filled] + CELLS / (CELLS - filled)
    return estimates


_POWERS = _halving_powers()
_HALVES = np.array([0.5**k for k in range(64)])
ESTIMATES = _distinct_estimates()
# cos(2 pi k / 24) for k = 0 .. 24 and cos(2 pi k / 7) for k = 0 .. 7; the sine is the cosine a quarter turn earlier.
_HOUR_COS = np.array([
    1.0, 0.96592582628906829, 0.86602540378443865, 0.70710678118654752, 0.5, 0.25881904510252076, 0.0,
    -0.25881904510252076, -0.5, -0.70710678118654752, -0.86602540378443865, -0.96592582628906829, -1.0,
    -0.96592582628906829, -0.86602540378443865, -0.70710678118654752, -0.5, -0.25881904510252076, 0.0,
    0.25881904510252076, 0.5, 0.70710678118654752, 0.86602540378443865, 0.96592582628906829, 1.0,
])  # fmt: skip
_WEEKDAY_COS = np.array([
    1.0, 0.62348980185873353, -0.22252093395631440, -0.90096886790241913, -0.90096886790241913,
    -0.22252093395631440, 0.62348980185873353,
])  # fmt: skip
_WEEKDAY_SIN = np.array([
    0.0, 0.78183148246802981, 0.97492791218182361, 0.43388373911755812, -0.43388373911755812,
    -0.97492791218182361, -0.78183148246802981,
])  # fmt: skip
_DAY = 86_400_000_000
_HOUR = 3_600_000_000


@kernel()
def decay(age: float, half_life: float) -> float:
    """Return 2^-(age / half_life), within 1e-7 of it, by linear interpolation in a table of 1,024 steps a halving."""
    halvings = age / half_life
    if halvings >= 60.0:
        return 0.0
    whole = int(halvings)
    place = (halvings - whole) * _STEPS
    step = int(place)
    low = _POWERS[step]
    value: float = (low + (_POWERS[step + 1] - low) * (place - step)) * _HALVES[whole]
    return value


@kernel()
def hour_on_circle(time: Whole) -> tuple[float, float]:
    """Return cosine and sine of the hour of day of a time in microseconds UTC, by the chord between whole hours."""
    hours = (time % _DAY) / _HOUR
    hour = int(hours)
    part = hours - hour
    cos = _HOUR_COS[hour] + (_HOUR_COS[hour + 1] - _HOUR_COS[hour]) * part
    quarter = (hour + 18) % 24
    sin = _HOUR_COS[quarter] + (_HOUR_COS[quarter + 1] - _HOUR_COS[quarter]) * part
    return cos, sin


@kernel()
def weekday_on_circle(time: Whole) -> tuple[float, float]:
    """Return cosine and sine of the day of week of a time in microseconds UTC; Monday is at angle zero."""
    # 1970-01-01 was a Thursday, the fourth day from Monday.
    weekday = (time // _DAY + 3) % 7
    return _WEEKDAY_COS[weekday], _WEEKDAY_SIN[weekday]
