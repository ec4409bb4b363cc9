"""Intervals of shares whose clicks come in clusters: several clicks of one buyer tell less than clicks of several."""

from __future__ import annotations

import numpy as np
from scipy import special

from slidr.errors import CalibrationError
from slidr.metrics import Bools, Int64s


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
    effective = _effective(marked, clusters, tail)
    hits = float(marked.mean()) * effective
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
