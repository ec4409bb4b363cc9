"""Odds: the log-odds that a click led to a purchase, given its score and its slice, with every slice shrunk.

    logit P(purchase | z, s) = c + sum_l a_l(s) + (1 + sum_l b_l(s)) f(z),     z = logit(score)

f is one falling spline for all slices, straight between its knots and 0 at the median purchase; l runs over the levels
of the slices (device; device and login; ...). a_l and b_l are drawn towards 0, that is towards the slice above, as
strongly as the scatter of their level tells (empirical Bayes: MacKay, "Bayesian interpolation", 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.special import expit

from slidr.calibration.ranking import LOWEST, Codes, between
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Float32s, Float64s, Int64s
from slidr.slices import ancestors

_CLOSEST = 1e-7  # scores nearer to 0 or 1 than this have the log-odds of this
_BINS = 64  # of the scores, half by purchasing clicks and half by all
_KNOTS = 20  # the same; at most so many
_APART = 0.1  # least distance of two knots
_ROUGHNESS = 1.0  # prior variance of the change of f's slope over a distance of 1
_FLATTEST = 1e-6  # least fall of f over a distance of 1, so that no two scores tie
_SWEEPS = 40
_FIRST_VARIANCE = 0.25
_VARIANCES = (1e-6, 4.0)
_LARGEST_STEPS = (1.0, 0.5)  # of a and b in one sweep
_LEAST_SLOPE = 0.1  # of a slice, as a share of the common one
_SETTLING = 3  # sweeps before the variances are estimated


def log_odds(scores: Float32s) -> Float64s:
    """Return z = log(score / (1 - score)) of float32 scores, which never falls as they rise, float64[n]."""
    share = np.clip(scores.astype(np.float64), _CLOSEST, 1 - _CLOSEST / 4)
    z: Float64s = np.log(share) - np.log1p(-share)
    return z


@dataclass(frozen=True, eq=False)
class Odds:
    """The ranking by u = -logit P(purchase | score, slice).

    Attributes:
        paths: the slices and all above them.
        homes: the slice whose clicks set each curve.
        knots: float64[K], ascending.
        f: float64[K], at the knots, falling.
        level: float64[len(paths)], c + sum_l a_l.
        slope: float64[len(paths)], 1 + sum_l b_l; positive.
        least: the least level of u.
    """

    paths: tuple[str, ...]
    homes: tuple[str, ...]
    knots: Float64s
    f: Float64s
    level: Float64s
    slope: Float64s
    least: float = LOWEST

    def u(self, scores: Float32s, codes: Codes) -> Float64s:
        """Return u of clicks, float64[n]."""
        z = log_odds(scores)
        low = _interval(self.knots, z)
        rise = between(z, (self.knots[low], self.knots[low + 1]), (-self.f[low], -self.f[low + 1]))
        u: Float64s = self.slope[codes] * rise - self.level[codes]
        return u


def fit_odds(sample: CalibrationSample) -> Odds:
    """Fit the log-odds by backfitting: the spline, and the slices of every level, in turn.

    A slice without purchases has the odds of the slice above: silence is no proof of robots.
    """
    tree = sample.tree
    cells = _count(sample, tree)
    spline = _Spline(cells)
    levels, homes = _levels(tree, cells)
    for sweep in range(_SWEEPS):
        level, slope = _summed(levels, len(tree))
        spline.step(level[cells.leaf], slope[cells.leaf])
        f = spline.of_cells()
        for one in levels:
            level, slope = _summed(levels, len(tree))
            one.step(cells, expit(spline.c + level[cells.leaf] + slope[cells.leaf] * f), f)
            if sweep >= _SETTLING:
                one.shrink()
    level, slope = _summed(levels, len(tree))
    return Odds(tree, homes, spline.knots, spline.f, spline.c + level, slope)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Clicks counted by slice and by bin of z, weighted.

    Attributes:
        leaf: int64[m], place of the slice in the tree.
        z: float64[m], mean of the cell.
        clicks: float64[m].
        purchases: float64[m].
    """

    leaf: Int64s
    z: Float64s
    clicks: Float64s
    purchases: Float64s

    def quantiles(self, number: int) -> Float64s:
        """Return quantiles of z, half of them by clicks and half by purchases, ascending."""
        order = np.argsort(self.z)
        shares = (np.arange(number // 2) + 0.5) / (number // 2)
        found = [
            np.interp(shares, np.cumsum(counts[order]) / counts.sum(), self.z[order])
            for counts in (self.clicks, self.purchases)
        ]
        return np.unique(np.concatenate(found))

    def median_purchase(self) -> float:
        """Return the z that half of the purchases lie below."""
        order = np.argsort(self.z)
        total = np.cumsum(self.purchases[order])
        return float(self.z[order][np.searchsorted(total, total[-1] / 2)])


def _count(sample: CalibrationSample, tree: tuple[str, ...]) -> _Cells:
    """Count a sample by slice and bin; clicks of a slice weigh as much as its purchases are independent."""
    z, bought = log_odds(sample.scores), sample.purchased
    shares = np.linspace(0, 1, _BINS // 2 + 1)[1:-1]
    edges = np.unique(np.concatenate((np.quantile(z, shares), np.quantile(z[bought], shares))))
    home = {path: place for place, path in enumerate(tree)}
    leaf = np.array([home.get(path, 0) for path in sample.paths])[sample.slices]
    used, cell = np.unique(leaf * (len(edges) + 1) + np.searchsorted(edges, z), return_inverse=True)
    clicks = np.bincount(cell)
    leaf_of = used // (len(edges) + 1)
    weight = _independence(leaf[bought], sample.purchaser[bought], len(tree))[leaf_of]
    purchases = np.bincount(cell, bought, minlength=len(used))
    return _Cells(leaf_of, np.bincount(cell, z) / clicks, clicks * weight, purchases * weight)


def _independence(leaf: Int64s, purchaser: Int64s, number: int) -> Float64s:
    """Return Kish's effective number of purchasers over the number of purchasing clicks, per slice: float64[number]."""
    (home, _), each = np.unique(np.stack((leaf, purchaser)), axis=1, return_counts=True)
    clicks = np.bincount(home, each, minlength=number)
    squares = np.bincount(home, each.astype(np.float64) ** 2, minlength=number)
    return np.where(squares > 0, clicks / np.maximum(squares, 1), 1.0)


def _interval(knots: Float64s, z: Float64s) -> Int64s:
    """Return the place of the knot below each z, int64[n]."""
    return np.clip(np.searchsorted(knots, z, side="right") - 1, 0, len(knots) - 2)


class _Spline:
    """The common curve c + f(z), fitted step by step."""

    def __init__(self, cells: _Cells) -> None:
        ends = log_odds(np.array([0, 1], np.float32))
        inner = cells.quantiles(_KNOTS)
        inner = inner[np.diff(inner, prepend=ends[0]) > _APART]
        self.knots: Float64s = np.concatenate((ends[:1], inner[inner < ends[1] - _APART], ends[1:]))
        self._cells = cells
        self._low = _interval(self.knots, cells.z)
        self._right = (cells.z - self.knots[self._low]) / np.diff(self.knots)[self._low]
        self._median = cells.median_purchase()
        rate = cells.purchases.sum() / cells.clicks.sum()
        self.c = float(np.log(rate / max(1 - rate, _CLOSEST)))
        self.f: Float64s = -_FLATTEST * (self.knots - self._median)
        self._roughness = _roughness(self.knots)

    def of_cells(self, f: Float64s | None = None) -> Float64s:
        """Return f of every cell."""
        f = self.f if f is None else f
        return f[self._low] + (f[self._low + 1] - f[self._low]) * self._right

    def step(self, level: Float64s, slope: Float64s) -> None:
        """Take one Newton step of the penalised likelihood, halved until it gains, and centre f again."""
        cells, count = self._cells, len(self.knots)
        # The curve g = c + f enters as c + slope (g - c) + level.
        rest = level + (1 - slope) * self.c
        g = self.c + self.f
        p = expit(rest + slope * self.of_cells(g))
        weight = cells.clicks * p * (1 - p) * slope**2
        pull = (cells.purchases - cells.clicks * p) * slope

        def summed(left: Float64s, right: Float64s) -> Float64s:
            found: Float64s = np.zeros(count)
            found += np.bincount(self._low, left, minlength=count)
            found += np.bincount(self._low + 1, right, minlength=count)
            return found

        left, right = 1 - self._right, self._right
        beside = np.bincount(self._low, weight * left * right, minlength=count)[: count - 1]
        curvature = np.diag(summed(weight * left**2, weight * right**2)) + np.diag(beside, 1) + np.diag(beside, -1)
        target = curvature @ g + summed(pull * left, pull * right)
        best = _falling(curvature + self._roughness, target, self.knots)
        before = self._gain(g, rest, slope)
        for _ in range(8):
            if self._gain(best, rest, slope) >= before:
                break
            best = (best + g) / 2
        self.c = float(np.interp(self._median, self.knots, best))
        self.f = best - self.c

    def _gain(self, g: Float64s, rest: Float64s, slope: Float64s) -> float:
        """Return the penalised log-likelihood."""
        eta = rest + slope * self.of_cells(g)
        cells = self._cells
        return float(cells.purchases @ eta - cells.clicks @ np.logaddexp(0, eta) - g @ self._roughness @ g / 2)


def _roughness(knots: Float64s) -> Float64s:
    """Return the penalty on changes of slope as a quadratic form, float64[K, K]."""
    gaps = np.diff(knots)
    change = np.zeros((len(gaps) - 1, len(knots)))
    row = np.arange(len(gaps) - 1)
    change[row, row] = 1 / gaps[:-1]
    change[row, row + 1] = -1 / gaps[:-1] - 1 / gaps[1:]
    change[row, row + 2] = 1 / gaps[1:]
    change /= np.sqrt((gaps[:-1] + gaps[1:]) / 2 * _ROUGHNESS)[:, None]
    ridge: Float64s = change.T @ change + 1e-6 * np.eye(len(knots))
    return ridge


def _falling(curvature: Float64s, target: Float64s, knots: Float64s) -> Float64s:
    """Return the falling curve that maximises target g - g curvature g / 2, as values at the knots.

    A falling curve is its first value less falls of no less than the flattest: least squares under x >= 0, in which the
    free first value stands as the difference of two.
    """
    count = len(knots)
    falls = np.concatenate((np.ones((count, 1)), -np.tril(np.ones((count, count - 1)), -1)), axis=1)
    least = falls[:, 1:] @ (_FLATTEST * np.diff(knots))
    root = np.linalg.cholesky(curvature)
    matrix = root.T @ np.column_stack((falls, -falls[:, 0]))
    x, _ = nnls(matrix, np.linalg.solve(root, target) - root.T @ least, maxiter=100 * count)
    curve: Float64s = falls @ np.append(x[0] - x[-1], x[1:-1]) + least
    return curve


class _Level:
    """The effects a and b of the slices of one level."""

    def __init__(self, node: Int64s, number: int) -> None:
        self.node = node  # int64[len(tree)]: the slice of this level that each path lies in; `number` for none
        self.used = np.unique(node[node < number])
        self.a, self.b = np.zeros(number + 1), np.zeros(number + 1)
        self._variance = np.full(2, _FIRST_VARIANCE)
        self._spread = np.zeros((2, len(self.used)))

    def step(self, cells: _Cells, p: Float64s, f: Float64s) -> None:
        """Take one Newton step of the penalised likelihood, each slice on its own."""
        node, size = self.node[cells.leaf], len(self.a)
        weight, pull = cells.clicks * p * (1 - p), cells.purchases - cells.clicks * p

        def summed(values: Float64s) -> Float64s:
            return np.bincount(node, values, minlength=size)[self.used].astype(np.float64)

        a, b = self.a[self.used], self.b[self.used]
        aa = summed(weight) + 1 / self._variance[0]
        bb = summed(weight * f * f) + 1 / self._variance[1]
        ab = summed(weight * f)
        pull_a = summed(pull) - a / self._variance[0]
        pull_b = summed(pull * f) - b / self._variance[1]
        area = aa * bb - ab * ab
        most_a, most_b = _LARGEST_STEPS
        self.a[self.used] += np.clip((bb * pull_a - ab * pull_b) / area, -most_a, most_a)
        self.b[self.used] += np.clip((aa * pull_b - ab * pull_a) / area, -most_b, most_b)
        self._spread = np.stack((bb / area, aa / area))

    def shrink(self) -> None:
        """Estimate the variances of the level: the squares of its effects, over how many of them the clicks fix."""
        if len(self.used) == 0:
            return
        fixed = np.maximum(1 - self._spread / self._variance[:, None], 0).sum(axis=1)
        squares = np.array([(values[self.used] ** 2).sum() for values in (self.a, self.b)])
        self._variance = np.clip(squares / np.maximum(fixed, 1e-9), *_VARIANCES)


def _levels(tree: tuple[str, ...], cells: _Cells) -> tuple[list[_Level], tuple[str, ...]]:
    """Return the levels below the root, from the top, and of each path the nearest slice that has purchases."""
    home = {path: place for place, path in enumerate(tree)}
    lineages = [[home[above] for above in ancestors(path)] for path in tree]
    bought = np.zeros(len(tree))
    for lineage, count in zip(lineages, np.bincount(cells.leaf, cells.purchases, minlength=len(tree)), strict=True):
        bought[lineage] += count
    nodes = np.full((max(len(lineage) for lineage in lineages) - 1, len(tree)), len(tree))
    for place, lineage in enumerate(lineages):
        for depth, above in enumerate(reversed(lineage[:-1])):
            if bought[above] > 0:
                nodes[depth, place] = above
    homes = tuple(tree[next(above for above in lineage if bought[above] > 0)] for lineage in lineages)
    return [_Level(node, len(tree)) for node in nodes], homes


def _summed(levels: list[_Level], number: int) -> tuple[Float64s, Float64s]:
    """Return the sums of a, and 1 + the sums of b, over the levels above each path: float64[len(tree)] each."""
    level, slope = np.zeros(number), np.ones(number)
    for one in levels:
        level += one.a[one.node]
        slope += one.b[one.node]
    return level, np.maximum(slope, _LEAST_SLOPE)
