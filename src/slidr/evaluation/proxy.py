"""Proxy check: is the false-positive rate of purchasing clicks that of all people, or only of those who buy readily?

The false-positive rate counts purchasing clicks alone. Where slices convert differently, it is cheap to mark people in
slices that seldom buy: few purchases are lost, and many people. The check weighs every purchasing click by the unmarked
clicks that it stands for. In each stratum of slice, activity and size of the ip,

    weight = unmarked clicks / unmarked purchasing clicks,
    reweighted = sum of the weights of marked purchasing clicks / sum of all weights.

It assumes that unmarked clicks are people's, and that within a stratum people who buy are marked as often as people
who do not. Robots among the unmarked clicks, and people who are marked because they never buy, it does not see: it
reads low rather than high. Strata with few unmarked purchasing clicks are joined along the ip, then the activity, then
the slice.

Source: inverse-probability weighting (Horvitz and Thompson, 1952); the strata and the joining are our choice.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.errors import LabelError
from slidr.metrics import Bools, Int64s

LEAST = 30
"""Unmarked purchasing clicks that a stratum needs to stand alone."""
LIMIT = 2.0
"""Times the proxy above which the reweighted rate warns."""

Numbers = NDArray[np.int64] | NDArray[np.int32] | NDArray[np.float32] | NDArray[np.float64]


class ProxyCheck(msgspec.Struct, frozen=True):
    """The false-positive rate by purchasing clicks, and reweighted to the unmarked clicks.

    Attributes:
        proxy: share of purchasing clicks that are marked.
        reweighted: the same with every purchasing click standing for the unmarked clicks of its stratum.
        ratio: reweighted / proxy; None where no purchasing click is marked.
        warning: the ratio is above LIMIT.
        purchases: purchasing clicks.
        marked_purchases: marked ones among them; a handful makes the ratio a guess.
        strata: strata that were compared.
    """

    proxy: float
    reweighted: float
    ratio: float | None
    warning: bool
    purchases: int
    marked_purchases: int
    strata: int

    def summary(self) -> str:
        """Say in plain words what was found."""
        if self.ratio is None:
            return f"None of {self.purchases} purchasing clicks is marked, so the proxy cannot be checked."
        found = (
            f"Of purchasing clicks {100 * self.proxy:.2g} % are marked; weighed up to all unmarked clicks it is"
            f" {100 * self.reweighted:.2g} %, {self.ratio:.1f} times as much, by {self.marked_purchases} marked"
            f" purchasing clicks in {self.strata} strata."
        )
        if self.warning:
            found += " People who seldom buy bear the marks: do not read the false-positive rate as that of all people."
        return found


def check_proxy(marked: Bools, purchased: Bools, slices: Numbers, activity: Numbers, ip_size: Numbers) -> ProxyCheck:
    """Return how the false-positive rate changes when purchasing clicks are weighed up to the unmarked clicks.

    Args:
        marked: bool[n].
        purchased: the click led to a purchase, bool[n].
        slices: number of the click's deepest slice, int[n].
        activity: recent clicks of who clicked, such as `clicks_user_24h`, number[n]; cut at powers of two.
        ip_size: people behind the click's ip, such as `distinct_user_ip_24h`, number[n]; cut at powers of two.

    Slice 1 converts a tenth as often as slice 0, and all marks fall there:

    >>> slices = np.repeat([0, 1], [1000, 1000])
    >>> purchased = (np.arange(2000) % np.where(slices, 20, 2)) == 0
    >>> marked = (slices == 1) & (np.arange(2000) % 100 < 20)
    >>> found = check_proxy(marked, purchased, slices, np.ones(2000), np.ones(2000))
    >>> round(found.proxy, 3), round(found.reweighted, 3), found.warning
    (0.018, 0.1, True)

    Raises:
        LabelError: no click led to a purchase.
    """
    purchases = int(purchased.sum())
    if not purchases:
        raise LabelError(
            f"none of {len(marked)} clicks led to a purchase, so there is no proxy to check; check the purchase log"
        )
    weights, strata = _weights(marked, purchased, [slices, _octaves(activity), _octaves(ip_size)])
    hit = marked & purchased
    count = int(hit.sum())
    proxy, whole = count / purchases, float(weights[purchased].sum())
    # All clicks may be marked; then nobody is left to stand for.
    reweighted = float(weights[hit].sum()) / whole if whole else proxy
    ratio = reweighted / proxy if count else None
    return ProxyCheck(proxy, reweighted, ratio, ratio is not None and ratio > LIMIT, purchases, count, strata)


def _weights(marked: Bools, purchased: Bools, columns: list[Numbers | Int64s]) -> tuple[NDArray[np.float64], int]:
    """Return how many unmarked clicks a purchasing click stands for, float64[n], and how many strata there are."""
    weights, left, strata = np.zeros(len(marked)), np.full(len(marked), True), 0
    for depth in range(len(columns), -1, -1):
        rows = np.flatnonzero(left)
        if not rows.size:
            break
        stratum = _numbered([column[rows] for column in columns[:depth]], len(rows))
        clicks = np.bincount(stratum, ~marked[rows])
        buyers = np.bincount(stratum, ~marked[rows] & purchased[rows])
        settled = buyers >= (LEAST if depth else 0)
        kept = settled[stratum]
        weights[rows[kept]] = (clicks / np.maximum(buyers, 1))[stratum[kept]]
        left[rows[kept]] = False
        strata += int(settled.sum())
    return weights, strata


def _numbered(columns: list[Numbers | Int64s], rows: int) -> Int64s:
    """Number the combinations of columns that occur, int64[rows]."""
    number = np.zeros(rows, np.int64)
    for column in columns:
        values, place = np.unique(column, return_inverse=True)
        _, number = np.unique(number * len(values) + place, return_inverse=True)
    return number


def _octaves(values: Numbers) -> Int64s:
    """Cut numbers at the powers of two: 0 and 1, 2 and 3, 4 to 7, and so on; what is not a number counts as 0."""
    whole = np.nan_to_num(values.astype(np.float64), nan=0.0)
    return np.asarray(np.log2(np.maximum(whole, 1.0)), dtype=np.int64)
