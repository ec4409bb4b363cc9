"""Intervals of shares whose clicks come in clusters: several clicks of one buyer tell less than clicks of several."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from slidr.errors import CalibrationError
from slidr.metrics import Bools, Int64s

_FEWEST = 2


def clustered_interval(marked: Bools, clusters: Int64s, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact binomial interval of a share at its effective number of clicks.

    The effective number is that of independent clicks which would tell as much: the clicks over their design effect,
    which is the variance over clusters beside that of independent clicks, corrected for few clusters (Korn and
    Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data", 1998). It is never more than the clicks, and where all clusters have the same share, which makes the variance
    zero, not more than the clusters. Where all clicks or none are marked, nothing shows how alike the clicks of a
    cluster are, and they are taken as one.

    Args:
        marked: bool[n].
        clusters: number of each click's cluster, int64[n].
        confidence: of the interval, between 0 and 1.

    Raises:
        CalibrationError: no clicks, or a confidence out of its limits.

    >>> marked = np.arange(1000) < 5
    >>> [round(bound, 4) for bound in clustered_interval(marked, np.arange(1000))]
    [0.0016, 0.0116]
    >>> [round(bound, 4) for bound in clustered_interval(marked, np.arange(1000) // 5)]
    [0.0001, 0.0278]
    """
    if len(marked) == 0 or not 0 < confidence < 1:
        raise CalibrationError(
            f"no interval for {len(marked)} clicks at confidence {confidence}; give at least one click, and a"
            " confidence between 0 and 1"
        )
    tail = (1 - confidence) / 2
    return _exact(float(marked.mean()), _effective(marked, clusters, tail), tail)


def ratio_interval(
    hits: ArrayLike, totals: ArrayLike, most: float, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval of a share of a sum, such as of what clicks cost, that was counted by cluster.

    As `clustered_interval`, where a click weighs what it costs: the effective number is that of independent clicks of
    equal cost whose share would vary as much as the share of these clusters does.

    Args:
        hits: float64[clusters], what is counted of each cluster.
        totals: float64[clusters], of which it is a part.
        most: the effective number is never more, such as the clicks.
        confidence: of the interval, between 0 and 1.

    Returns:
        None where there is nothing to share, or a single cluster, which does not show how clusters vary.

    >>> low, high = ratio_interval([0, 5, 0, 0], [250, 250, 250, 250], 1000)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.0573)
    >>> ratio_interval([5], [1000], 1000) is None
    True
    """
    part, whole = np.asarray(hits, np.float64), np.asarray(totals, np.float64)
    part, whole = part[whole > 0], whole[whole > 0]
    clusters, sum_ = len(whole), float(whole.sum())
    if clusters < _FEWEST:
        return None
    tail, share = (1 - confidence) / 2, float(part.sum()) / sum_
    variance = clusters / (clusters - 1) * float(((part - share * whole) ** 2).sum()) / sum_**2
    if share in (0.0, 1.0) or not variance:
        effective = sum_**2 / float((whole**2).sum())
    else:
        few = (special.ndtri(tail) / special.stdtrit(clusters - 1, tail)) ** 2
        effective = share * (1 - share) / variance * few
    return _exact(share, min(effective, most), tail)


def _exact(share: float, effective: float, tail: float) -> tuple[float, float]:
    """Return the exact binomial interval of a share of so many clicks, which need not be a whole number."""
    hits = share * effective
    low = special.betaincinv(hits, effective - hits + 1, tail) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, effective - hits, 1 - tail) if hits < effective else 1.0
    return float(low), float(high)


def _effective(marked: Bools, clusters: Int64s, tail: float) -> float:
    clicks, share = len(marked), float(marked.mean())
    _, places, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    if share in (0.0, 1.0) or len(sizes) == 1:
        return float(clicks**2 / (sizes.astype(np.float64) ** 2).sum())
    sums = np.bincount(places, marked - share)
    variance = len(sizes) / (len(sizes) - 1) * float((sums**2).sum()) / clicks**2
    # A share of n independent clicks has this variance, n - 1 in it because that is how the other one is measured.
    independent = share * (1 - share) / (clicks - 1)
    few = (special.stdtrit(clicks - 1, tail) / special.stdtrit(len(sizes) - 1, tail)) ** 2
    return float(min(clicks * independent / variance * few, clicks)) if variance else float(len(sizes))
