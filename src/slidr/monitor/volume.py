"""Volume: clicks a minute, told as shares, so that the cumulative sum that watches everything else can watch them.

Of many clicks that could come in a minute each comes with a small probability: the counts are then nearly those of a
Poisson process (Feller, "An Introduction to Probability Theory and Its Applications", volume 1, 1968, section VI.5).
"""

from __future__ import annotations

import numpy as np

from slidr.monitor.statistics import Float64s, Steps, spread

_LEAST_PEOPLE = 1e-3
"""Of all clicks: where all are invalid, no number of robots tells that."""
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


class Usual:
    """What is usual of some minutes, and how far from it is still usual, and how much farther is sharp."""

    def __init__(self) -> None:
        self._places: list[int] = []
        self._found: list[tuple[float, float, float]] = []

    def add(self, place: int, centre: float, margin: float, gap: float) -> None:
        """Say what is usual of a minute, unless it has no clicks as a rule."""
        if centre > 0:
            self._places.append(place)
            self._found.append((centre, margin, gap))

    def steps(self, starts: Float64s, clicks: Float64s) -> list[tuple[Steps, Float64s]]:
        """Return the steps of these minutes and what is usual of each; nothing where there are none."""
        if not self._places:
            return []
        centre, margin, gap = np.array(self._found).T
        usual = centre + margin
        return [(volume_steps(starts[self._places], clicks[self._places], usual, usual + gap), centre)]


def robots_alone(clicks: float, usual: float, observed: float, expected: float) -> bool:
    """Return whether a share of invalid clicks differs because more robots came, or fewer, and as many people as usual.

    Had as many people come, clicks would be (1 - expected) / (1 - observed) times the usual ones; where the bundle
    found other people invalid, they would be the usual ones. The nearer of the two, by its logarithm, is believed.

    >>> robots_alone(20, 10, 0.6, 0.2), robots_alone(11, 10, 0.6, 0.2)
    (True, False)
    >>> robots_alone(8, 10, 0.1, 0.3), robots_alone(10, 10, 0.1, 0.3)
    (True, False)

    Args:
        clicks: that came.
        usual: that come as a rule; above 0.
        observed: share of them that was found invalid.
        expected: share that was expected.
    """
    most = 1 - _LEAST_PEOPLE
    needed = np.log((1 - min(expected, most)) / (1 - min(observed, most)))
    came = np.log(max(clicks, 1) / usual)
    return bool(needed != 0 and came / needed > 0.5)  # noqa: PLR2004 the middle


def _possible(clicks: Float64s, sharp: Float64s) -> Float64s:
    """Return how many clicks could have come in each minute, the same of all."""
    return np.full(len(clicks), _POSSIBLE * max(float(clicks.max(initial=1.0)), float(sharp.max(initial=1.0))))
