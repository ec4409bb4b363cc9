"""Volume: clicks a minute, told as shares, so that the cumulative sum that watches everything else can watch them.

Of many clicks that could come in a minute each comes with a small probability: the counts are then nearly those of a
Poisson process (Feller, "An Introduction to Probability Theory and Its Applications", volume 1, 1968, section VI.5).
"""

from __future__ import annotations

import numpy as np

from slidr.monitor.statistics import Float64s, Steps, spread

MISSING_SPREAD = 10.0
"""Where there is too little to measure it: robots come in bursts."""
_POSSIBLE = 100
"""Clicks that could come for each that does in the busiest minute: their variance is 1 % below a Poisson process's."""


def every_minute(starts: Float64s, clicks: Float64s, end: int) -> tuple[Float64s, Float64s]:
    """Return all minutes from the first one up to an end, and their clicks: none where none were counted.

    >>> minutes, clicks = every_minute(np.array([7.0, 9.0]), np.array([2.0, 5.0]), 11)
    >>> minutes.tolist(), clicks.tolist()
    ([7.0, 8.0, 9.0, 10.0], [2.0, 0.0, 5.0, 0.0])

    Args:
        starts: minutes with clicks, ascending, float64[n].
        clicks: of each, float64[n].
        end: the minute after the last.
    """
    if not len(starts):
        return starts, clicks
    minutes = np.arange(starts[0], max(end, starts[-1] + 1))
    found = np.zeros(len(minutes))
    found[(starts - starts[0]).astype(np.int64)] = clicks
    return minutes, found


def volume_steps(starts: Float64s, clicks: Float64s, usual: Float64s, sharp: Float64s) -> Steps:
    """Return minutes as steps whose share is that of the clicks which could have come.

    Args:
        starts: the minutes, float64[n] with n > 0.
        clicks: of each.
        usual: most clicks of each that are usual.
        sharp: fewest that are a sharp deviation.
    """
    possible = _possible(clicks, sharp)
    return Steps(starts, possible, clicks, usual / possible, sharp / possible)


def volume_spread(starts: Float64s, clicks: Float64s) -> float:
    """Return how much more the clicks of minutes vary than those of a Poisson process; at least 1.

    Args:
        starts: the minutes, none left out, float64[n].
        clicks: of each.
    """
    return spread(starts, _possible(clicks, clicks), clicks, MISSING_SPREAD)


def _possible(clicks: Float64s, sharp: Float64s) -> Float64s:
    """Return how many clicks could have come in each minute, the same of all."""
    return np.full(len(clicks), _POSSIBLE * max(float(clicks.max(initial=1.0)), float(sharp.max(initial=1.0))))
