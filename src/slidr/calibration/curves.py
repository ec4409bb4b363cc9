"""Curves: the empirical IVR-FPR curves of thousands of groups at once, and the quadratics fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slidr.metrics import MARKS_EVERYTHING, Bools, Float32s, Float64s, Int64s

_FEWEST_POINTS = 3  # a parabola has three coefficients


def _keys(groups: Int64s, scores: Float32s) -> Int64s:
    """Return integers that sort by group and then by score: a float of [0, 1] orders as its bits do."""
    bits = np.ascontiguousarray(scores + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
    return np.sort((groups.astype(np.int64) << 32) | bits)


def _scores(keys: Int64s) -> Float32s:
    return (keys & 0xFFFFFFFF).astype(np.int32).view(np.float32)


@dataclass(frozen=True, eq=False)
class Curves:
    """The curve of every group in one array: the purchasing clicks, by group, highest score first.

    Attributes:
        group: int64[p], the group of each purchasing click.
        score: float32[p].
        rank: int64[p], purchasing clicks of the group with a greater score: what a threshold at this score marks.
        ivr: float64[p], share of the group's clicks that a threshold at this score marks.
        start: int64[groups], place of each group's first purchasing click.
        clicks: int64[groups].
        purchases: int64[groups].
    """

    group: Int64s
    score: Float32s
    rank: Int64s
    ivr: Float64s
    start: Int64s
    clicks: Int64s
    purchases: Int64s

    def threshold(self, marked: Int64s) -> Float32s:
        """Return each group's smallest threshold that marks at most this many of its purchasing clicks."""
        at = np.minimum(marked, np.maximum(self.purchases - 1, 0)) + self.start
        thresholds = self.score[np.minimum(at, len(self.score) - 1)]
        return np.where(marked >= self.purchases, np.float32(MARKS_EVERYTHING), thresholds)


def measure(scores: Float32s, purchased: Bools, groups: Int64s, number: int) -> Curves:
    """Measure the curves of `number` groups; clicks of group -1 are left out."""
    inside = groups >= 0
    keys = _keys(groups[inside], scores[inside])
    bought = _keys(groups[inside & purchased], scores[inside & purchased])
    clicks = np.bincount(groups[inside], minlength=number)
    purchases = np.bincount(groups[inside & purchased], minlength=number)
    click_end, start = np.cumsum(clicks), np.cumsum(purchases) - purchases
    home = bought >> 32
    marked = click_end[home] - np.searchsorted(keys, bought, side="right")
    rank = (start + purchases)[home] - np.searchsorted(bought, bought, side="right")
    downwards = np.lexsort((rank, home))
    return Curves(
        group=home[downwards],
        score=_scores(bought)[downwards],
        rank=rank[downwards],
        ivr=(marked / np.maximum(clicks, 1)[home])[downwards],
        start=start,
        clicks=clicks,
        purchases=purchases,
    )


def coverage_floor(scores: Float32s, busy: Bools, groups: Int64s, number: int, minimum: float) -> Float32s:
    """Return each group's largest threshold that marks at least this share of its busy clicks: float32[groups].

    It is infinite where nothing is asked for or no click is busy: then there is no bound.
    """
    counts = np.bincount(groups[busy], minlength=number)
    floors = np.full(number, np.inf, dtype=np.float32)
    if minimum > 0:
        bounded = np.flatnonzero(counts)
        wanted = np.ceil(minimum * counts[bounded] - 1e-9).astype(np.int64)  # a whole share is not lost to rounding
        keys = _keys(groups[busy], scores[busy])
        last = _scores(keys[np.cumsum(counts)[bounded] - wanted])
        floors[bounded] = np.nextafter(last, np.float32(MARKS_EVERYTHING))
    return floors


@dataclass(frozen=True, eq=False)
class Quadratics:
    """The fitted curves q_s(f) = a_s f^2 + b_s f + c_s with a_s <= 0, float64[S] each."""

    a: Float64s
    b: Float64s
    c: Float64s

    def __call__(self, f: Float64s) -> Float64s:
        """Return the fitted IVR of every slice at its FPR f: float64[S]."""
        return self.a * f**2 + self.b * f + self.c

    def __getitem__(self, slices: slice | int) -> Quadratics:
        """Return the curves of some slices."""
        return Quadratics(self.a[slices], self.b[slices], self.c[slices])


def fit_quadratics(curves: Curves, fit_to_fpr: float) -> Quadratics:
    """Fit IVR = a f^2 + b f + c with a <= 0 to the low end of every curve, by least squares.

    The low end is FPR f <= `fit_to_fpr`, or the first three points where that holds fewer. Every distinct score of a
    purchasing click is a point. Where the best parabola bends upwards, the best one that does not is a line.
    """
    within = curves.rank <= np.maximum(fit_to_fpr * curves.purchases, _FEWEST_POINTS - 1)[curves.group]
    # Of purchasing clicks with equal scores only the first, for they are one point of the curve.
    distinct = np.append(True, (curves.rank[1:] != curves.rank[:-1]) | (curves.group[1:] != curves.group[:-1]))
    group, ivr = curves.group[within & distinct], curves.ivr[within & distinct]
    x = (curves.rank / curves.purchases[curves.group])[within & distinct] / fit_to_fpr  # near 1, for good condition
    number = len(curves.purchases)

    def total(values: Float64s) -> Float64s:
        return np.bincount(group, values, minlength=number).astype(np.float64)

    moments = [total(x**power) for power in range(5)]
    products = [total(ivr * x**power) for power in range(3)]
    a, b, c = _least_squares(moments, products)
    flat_b, flat_c = _least_squares(moments[:3], products[:2])
    bent = a < 0
    return Quadratics(
        a=np.where(bent, a, 0.0) / fit_to_fpr**2,
        b=np.where(bent, b, flat_b) / fit_to_fpr,
        c=np.where(bent, c, flat_c),
    )


def _least_squares(moments: list[Float64s], products: list[Float64s]) -> Float64s:
    """Solve the normal equations of every group at once; rows of the result run from the highest power to the constant.

    The pseudo-inverse gives groups with too few points the smallest coefficients that pass through them.
    """
    powers = range(len(products) - 1, -1, -1)
    normal = np.stack([np.stack([moments[row + column] for column in powers], axis=-1) for row in powers], axis=-2)
    right = np.stack([products[power] for power in powers], axis=-1)
    inverse = np.linalg.pinv(normal, rcond=1e-12, hermitian=True)
    solved: Float64s = np.einsum("gij,gj->ig", inverse, right)
    return solved
