"""Daytime: what the hour of the day does to the share of clicks that are found invalid.

People sleep and robots do not. What a bundle expects of a slice is the mean of its days; by the hour it is that mean
with log-odds moved as those of all clicks are moved in that hour.
"""

from __future__ import annotations

import numpy as np

from slidr.monitor.statistics import Float64s

_TINY = 1e-6


def by_hour(shares: Float64s, starts: Float64s, moves: Float64s) -> tuple[Float64s, Float64s]:
    """Return what is usual of minutes, and how far from it is usual still: what the hours before and behind have.

    >>> centre, margin = by_hour(np.array([0.2]), np.array([61.0]), np.log([1, 4, 1] + 21 * [1]))
    >>> centre.round(3), margin.round(3)
    (array([0.5]), array([0.3]))

    Args:
        shares: usual over the day, float64[n].
        starts: the minutes, float64[n].
        moves: of the log-odds, by UTC hour of the day, float64[24].

    Returns:
        float64[n] each.
    """
    hours = (starts // 60).astype(np.int64) % len(moves)
    before, centre, behind = (_moved(shares, moves[(hours + step) % len(moves)]) for step in (-1, 0, 1))
    return centre, np.maximum(np.abs(before - centre), np.abs(behind - centre))


def _moved(shares: Float64s, moves: Float64s) -> Float64s:
    bounded = np.clip(shares, _TINY, 1 - _TINY)
    odds = bounded / (1 - bounded) * np.exp(moves)
    return odds / (1 + odds)
