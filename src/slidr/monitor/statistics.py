"""Statistics: which shares deviate sharply, with a known least time to a false alarm.

A share is watched by a cumulative sum of log-likelihood ratios (Page, "Continuous inspection schemes", 1954) between
the largest share that still is usual, `usual`, and the least one that is sharp, `sharp`. Where the true share is no
more than `usual`, the mean number of steps until the sum exceeds h is at least e^h, whatever the number of clicks of a
step (Lorden, "Procedures for reacting to a change in distribution", 1971). Clicks of one robot or one person are alike,
so the ratio is divided by their spread: the variance of the counts beside that of independent clicks (McCullagh and
Nelder, "Generalized Linear Models", 1989, section 4.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]
_TINY = 1e-6
_BLOCKS = (1, 10)
_CHI_SQUARE_MEDIAN = 0.4549
_LEAST_BLOCKS, _LEAST_HOURS = 30, 12
"""Fewer tell nothing: one hour in which something began would pass for what is usual."""
_LEAST_SUCCESSES = 1.0
_FEWEST_BLOCKS = 3
"""Of an hour, that tell how they vary."""
_MOST_SPREAD = 200.0


class Steps(NamedTuple):
    """What was counted in successive minutes, and what is usual of them; float64[n] each.

    Attributes:
        starts: the minutes.
        clicks: how many.
        hits: how many of them count, such as the invalid ones.
        usual: largest share that is usual.
        sharp: least share that is a sharp deviation; larger than `usual`.
    """

    starts: Float64s
    clicks: Float64s
    hits: Float64s
    usual: Float64s
    sharp: Float64s


def rising(steps: Steps) -> Steps:
    """Return the steps with no sharp share below the usual one: nothing is more than all, and tells nothing there."""
    return steps._replace(sharp=np.maximum(steps.sharp, steps.usual))


def chosen(steps: Steps, which: NDArray[np.bool_]) -> Steps:
    """Return some of the steps, by mask."""
    return Steps(*(one[which] for one in steps))


class Excursion(NamedTuple):
    """What a cumulative sum shows at its end.

    Attributes:
        sum: the sum; never below 0, nor above twice the limit, so that it comes down again in time.
        since: the minute in which it last left 0.
        clicks: clicks since then.
        hits: those of them that count.
        held: minutes in a row, up to the last, in which it was above the limit.
    """

    sum: float
    since: int
    clicks: int
    hits: int
    held: int


def limit(days: float, series: int) -> float:
    """Return the limit of a sum that keeps so many series, watched by the minute, from more than one false alarm.

    >>> round(limit(365, 100), 2)
    17.78

    Args:
        days: mean days to a false alarm of any of them, at least.
        series: how many are watched.
    """
    return math.log(days * 1440 * max(series, 1))


def excursion(steps: Steps, spread: float, most: float) -> Excursion:
    """Return what the cumulative sum of steps shows at their end.

    >>> ones = np.ones(5)
    >>> steps = Steps(np.arange(5.0), 100 * ones, np.array([10.0, 10, 90, 90, 90]), 0.15 * ones, 0.2 * ones)
    >>> excursion(steps, 1.0, 20.0)
    Excursion(sum=40.0, since=2, clicks=300, hits=270, held=3)

    Args:
        steps: in the order of time.
        spread: variance of the counts beside that of independent clicks; 1 where they are independent.
        most: the limit.
    """
    usual, sharp = (np.clip(share, _TINY, 1 - _TINY) for share in (steps.usual, steps.sharp))
    ratio = steps.hits * np.log(sharp / usual) + (steps.clicks - steps.hits) * np.log((1 - sharp) / (1 - usual))
    total, since, first, held = 0.0, 0, 0, 0
    for place, step in enumerate((ratio / spread).tolist()):
        if total == 0.0:
            first = place
        total = min(max(total + step, 0.0), 2 * most)
        held = held + 1 if total > most else 0
    if total == 0.0:
        return Excursion(0.0, int(steps.starts[-1]) if len(steps.starts) else since, 0, 0, 0)
    clicks, hits = int(steps.clicks[first:].sum()), int(steps.hits[first:].sum())
    return Excursion(total, int(steps.starts[first]), clicks, hits, held)


def spread(starts: Float64s, clicks: Float64s, hits: Float64s, missing: float) -> float:
    """Return how much more the hits of minutes vary than those of independent clicks; at least 1.

    It is the median of the squared deviations from their hour's share, over that of independent clicks, so that a few
    disturbed hours do not change it; the larger one of single minutes and of ten together, which robots outlast.

    Args:
        starts: minutes, ascending.
        clicks: of each.
        hits: of each.
        missing: what to return where there are too few minutes.
    """
    found = []
    for block in _BLOCKS:
        _, place = np.unique(starts // block, return_inverse=True)
        n, x = np.bincount(place, clicks), np.bincount(place, hits)
        hours = np.zeros(len(n), np.int64)
        hours[place] = (starts // 60).astype(np.int64)
        _, hour = np.unique(hours, return_inverse=True)
        blocks = np.bincount(hour)[hour]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (np.bincount(hour, x) / np.bincount(hour, n))[hour]
            variance = n * share * (1 - share) * (blocks - 1) / blocks
            squares = (x - n * share) ** 2 / variance
        enough = (
            (blocks >= _FEWEST_BLOCKS) & (np.minimum(share, 1 - share) * n >= _LEAST_SUCCESSES) & np.isfinite(squares)
        )
        if np.count_nonzero(enough) >= _LEAST_BLOCKS and len(np.unique(hour[enough])) >= _LEAST_HOURS:
            found.append(float(np.median(squares[enough])) / _CHI_SQUARE_MEDIAN)
    return min(max(1.0, *found), _MOST_SPREAD) if found else missing


class Baseline(NamedTuple):
    """What was usual at the same hour of earlier weeks: the median share, and how far shares lie from it."""

    centre: float
    deviation: float


def baseline(shares: Sequence[float]) -> Baseline | None:
    """Return the median of shares and their median absolute deviation, scaled to a normal one's standard deviation.

    Neither is changed much by one week in which something was wrong (Hampel, "The influence curve and its role in
    robust estimation", 1974). One week alone tells nothing of the others.

    >>> baseline([0.1, 0.12, 0.11, 0.9])
    Baseline(centre=0.115, deviation=0.014826)
    """
    if len(shares) < 2:  # noqa: PLR2004 one share has no deviation
        return None
    centre = median(shares)
    return Baseline(round(centre, 12), round(1.4826 * median(abs(share - centre) for share in shares), 12))


def stability(expected: Float64s, found: Float64s) -> float:
    """Return the population stability index between two histograms, which need not sum to 1.

    >>> stability(np.array([50.0, 50]), np.array([5.0, 5]))
    0.0
    """
    shares = [np.maximum(one / max(one.sum(), 1), 1e-4) for one in (expected, found)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def stability_limit(clicks: float, bins: int, steps: float) -> float:
    """Return what the index of so many clicks exceeds by chance once in so many steps.

    By chance it is (1 / clicks) times a chi-square of bins - 1 degrees of freedom (Yurdakul, "Statistical properties
    of the population stability index", 2018), whose quantile is that of Wilson and Hilferty, 1931.
    """
    degrees = bins - 1
    quantile = NormalDist().inv_cdf(1 - 1 / max(steps, 2))
    return degrees * (1 - 2 / (9 * degrees) + quantile * math.sqrt(2 / (9 * degrees))) ** 3 / max(clicks, 1)
