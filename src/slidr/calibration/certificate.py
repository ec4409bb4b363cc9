"""Certificate: a level whose false-positive rate exceeds the budget only with a stated risk, on unseen purchases.

One random click of each purchaser is taken, of purchases that chose nothing else. If the rate of a level is above the
budget B, at most k of n such clicks lie above it with probability P(Bin(n, B) <= k) or less; so the largest k for which
that is within the risk may be marked, and the level is the (k + 1)-th largest u.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Bools, Int64s


class Certificate(msgspec.Struct, frozen=True):
    """What is promised of thresholds: P(FPR > budget) <= risk, where each purchaser counts once.

    Attributes:
        budget: share of purchasers, one random click of each, that may be marked.
        risk: chance that a new certificate promises too much.
        purchasers: how many purchasers it rests on, n.
        allowed: how many of them could be marked, k*.
        marked: how many are.
        level: the level of the ranking.
    """

    budget: float
    risk: float
    purchasers: int
    allowed: int
    marked: int
    level: float


def needed(budget: float, risk: float) -> int:
    """Return the smallest number of purchasers that a certificate can rest on: (1 - B)^n <= risk.

    >>> needed(0.005, 0.05)
    598
    """
    return math.ceil(math.log(risk) / math.log1p(-budget))


def most_marked(purchasers: int, budget: float, risk: float) -> int:
    """Return k* = max {k : P(Bin(n, B) <= k) <= risk}, and -1 where there is no such k.

    >>> [most_marked(n, 0.005, 0.05) for n in (597, 598, 1000, 2000, 5000, 20_000)]
    [-1, 0, 1, 4, 16, 83]
    """
    log_share, log_rest = math.log(budget), math.log1p(-budget)
    term, total, found = purchasers * log_rest, 0.0, -1
    for k in range(purchasers):
        total += math.exp(term)
        if total > risk:
            break
        found = k
        term += math.log((purchasers - k) / (k + 1)) + log_share - log_rest
    return found


def one_click_each(sample: CalibrationSample, generator: np.random.Generator) -> Int64s:
    """Return the places of one random purchasing click of every purchaser, int64[purchasers]."""
    places = generator.permutation(np.flatnonzero(sample.purchased))
    _, first = np.unique(sample.purchaser[places], return_index=True)
    return places[first]


def half_of_purchasers(sample: CalibrationSample, generator: np.random.Generator) -> Bools:
    """Return the purchasing clicks of a random half of the purchasers, bool[n]."""
    purchasers = np.unique(sample.purchaser[sample.purchased])
    chosen = generator.permutation(purchasers)[: len(purchasers) // 2]
    return np.isin(sample.purchaser, chosen)
