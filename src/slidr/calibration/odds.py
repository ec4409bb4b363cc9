"""Odds: the log-odds that a click led to a purchase, given its score and its slice, with every slice shrunk.

    logit P(purchase | z, s) = f(z) + sum_l d_l(s, z),     z = logit(score)

f is one falling spline for all slices. l runs over the levels of the slices (device; device and login; ...), and
d_l(s, z) is how slice s departs from the slice above it: a line through its values at a few corners of z, which are
drawn from a normal distribution with mean 0. The covariance of that distribution is estimated for each level from how
its slices scatter (empirical Bayes, by EM), so that slices with few purchases follow the one above, and what the many
purchases at low scores tell of a slice is carried to high scores as far as it holds in other slices.

Only scores near the threshold are fitted, those that a tenth of the purchasing clicks exceed: a curve that must also
follow the bulk of the people follows the few that decide less well.
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
_FITTED = 0.1  # share of the purchasing clicks, those with the highest scores, that the curves are fitted to
_BUDGETS = 3.0  # at least so many budgets of them
_FEWEST = 100  # and so many clicks
_BINS = 64  # of the scores, half by purchasing clicks and half by all
_KNOTS = 20  # of the spline, the same; at most so many
_APART = 0.1  # least distance of two knots or corners
_CORNERS = (0.05, 0.8, 0.95)  # quantiles of the fitted purchasing clicks; one more stands at the top of all clicks
_TOP = 0.995
_ROUGHNESS = 1.0  # prior variance of the change of f's slope over a distance of 1
_RIDGE = 1e-6
_FLATTEST = 1e-6  # least rise of u over a distance of 1, so that no two scores tie
_FIRST_VARIANCE = 0.25
_PRIOR_SLICES, _PRIOR_VARIANCE = 8, 0.02  # what is known of a level's scatter before its slices are seen
_SWEEPS = 40
_SETTLING = 3  # sweeps before the scatter is estimated
_LARGEST_STEP = 1.0
_HALVINGS = 8


def log_odds(scores: Float32s) -> Float64s:
    """Return z = log(score / (1 - score)) of float32 scores, which never falls as they rise, float64[n]."""
    share = np.clip(scores.astype(np.float64), _CLOSEST, 1 - _CLOSEST / 4)
    z: Float64s = np.log(share) - np.log1p(-share)
    return z


@dataclass(frozen=True, eq=False)
class Odds:
    """The ranking by u = -logit P(purchase | score, slice), less a number for each slice.

    Attributes:
        paths: the slices and all above them.
        homes: the slice whose clicks set each curve.
        knots: float64[K], ascending.
        curves: float64[len(paths), K], -logit P at the knots, rising.
        shift: float64[len(paths)], what is taken off.
        least: the least level of u.
    """

    paths: tuple[str, ...]
    homes: tuple[str, ...]
    knots: Float64s
    curves: Float64s
    shift: Float64s
    least: float = LOWEST

    def u(self, scores: Float32s, codes: Codes) -> Float64s:
        """Return u of clicks, float64[n]."""
        z = log_odds(scores)
        low = _interval(self.knots, z)
        ends, values = (self.knots[low], self.knots[low + 1]), (self.curves[codes, low], self.curves[codes, low + 1])
        u: Float64s = between(z, ends, values) - self.shift[codes]
        return u


def fit_odds(sample: CalibrationSample, budget: float) -> Odds:
    """Fit the log-odds by backfitting: the spline, and the slices of every level, in turn.

    A slice without purchases has the odds of the slice above: silence is no proof of robots.

    Args:
        sample: the clicks.
        budget: share of the purchasing clicks that may be marked; the curves are fitted around it.
    """
    cells = _count(sample, budget)
    levels, homes = _levels(sample, len(cells.corners))
    spline = _Spline(cells)
    for sweep in range(_SWEEPS):
        spline.step(cells.departures(levels))
        f = spline.of_cells(spline.f)
        for level in levels:
            level.step(cells, expit(f + cells.departures(levels)))
            if sweep >= _SETTLING:
                level.learn_scatter()
    knots = np.union1d(spline.knots, cells.corners)
    departed = sum((level.values[level.node] for level in levels), np.zeros((len(homes), len(cells.corners))))
    curves = np.interp(knots, spline.knots, spline.f) + departed @ _hats(knots, cells.corners).T
    return Odds(sample.tree, homes, knots, _rising(-curves, knots), np.zeros(len(homes)))


def _rising(curves: Float64s, knots: Float64s) -> Float64s:
    """Return curves that rise along the last axis: half-way between the highest so far and the lowest to come."""
    so_far = np.maximum.accumulate(curves, axis=1)
    to_come = np.minimum.accumulate(curves[:, ::-1], axis=1)[:, ::-1]
    rising: Float64s = (so_far + to_come) / 2 + _FLATTEST * (knots - knots[0])
    return rising


def _hats(z: Float64s, corners: Float64s) -> Float64s:
    """Return how much of the value at each corner a line through them has at each z: float64[n, corners]."""
    return np.stack([np.interp(z, corners, one) for one in np.eye(len(corners))], axis=1)


def _interval(knots: Float64s, z: Float64s) -> Int64s:
    """Return the place of the knot below each z, int64[n]."""
    return np.clip(np.searchsorted(knots, z, side="right") - 1, 0, len(knots) - 2)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Clicks counted by slice and by bin of z, weighted.

    Attributes:
        leaf: int64[m], place of the slice in the sample's tree.
        z: float64[m], mean of the cell.
        clicks: float64[m].
        purchases: float64[m].
        corners: float64[C], ascending.
        hats: float64[m, C].
    """

    leaf: Int64s
    z: Float64s
    clicks: Float64s
    purchases: Float64s
    corners: Float64s
    hats: Float64s

    def quantiles(self, number: int) -> Float64s:
        """Return quantiles of z, half of them by clicks and half by purchases, ascending."""
        order = np.argsort(self.z)
        shares = (np.arange(number // 2) + 0.5) / (number // 2)
        found = [
            np.interp(shares, np.cumsum(counts[order]) / counts.sum(), self.z[order])
            for counts in (self.clicks, self.purchases)
        ]
        return np.unique(np.concatenate(found))

    def departures(self, levels: list[_Level]) -> Float64s:
        """Return how far the slice of each cell departs from the spline there, float64[m]."""
        total = np.zeros(len(self.z))
        for level in levels:
            total += np.einsum("mc,mc->m", self.hats, level.values[level.node[self.leaf]])
        return total


def _count(sample: CalibrationSample, budget: float) -> _Cells:
    """Count the fitted clicks by slice and bin; clicks of a slice weigh as much as its purchases are independent.

    Clicks of a slice without purchases are left out, so that they dilute no curve.
    """
    z, bought = log_odds(sample.scores), sample.purchased
    fitted = min(max(_FITTED, _BUDGETS * budget, _FEWEST / np.count_nonzero(bought)), 1.0)
    heard = np.bincount(sample.slices[bought], minlength=len(sample.paths)) > 0
    near = (z >= np.quantile(z[bought], 1 - fitted, method="lower")) & heard[sample.slices]
    z, bought, purchaser = z[near], bought[near], sample.purchaser[near]
    shares = np.linspace(0, 1, _BINS // 2 + 1)[1:-1]
    edges = np.unique(np.concatenate((np.quantile(z, shares), np.quantile(z[bought], shares))))
    home = {path: place for place, path in enumerate(sample.tree)}
    leaf = np.array([home.get(path, 0) for path in sample.paths])[sample.slices[near]]
    used, cell = np.unique(leaf * (len(edges) + 1) + np.searchsorted(edges, z), return_inverse=True)
    clicks = np.bincount(cell)
    leaf_of = used // (len(edges) + 1)
    weight = _independence(leaf[bought], purchaser[bought], len(sample.tree))[leaf_of]
    mean = np.bincount(cell, z) / clicks
    corners = np.quantile(z[bought], _CORNERS)
    corners = np.append(corners, np.quantile(z, _TOP))
    corners = corners[np.diff(corners, prepend=-np.inf) > _APART]
    purchases = np.bincount(cell, bought, minlength=len(used)) * weight
    return _Cells(leaf_of, mean, clicks * weight, purchases, corners, _hats(mean, corners))


def _independence(leaf: Int64s, purchaser: Int64s, number: int) -> Float64s:
    """Return Kish's effective number of purchasers over the number of purchasing clicks, per slice: float64[number]."""
    width = int(purchaser.max()) + 1
    pairs, each = np.unique(leaf * width + purchaser, return_counts=True)
    clicks = np.bincount(pairs // width, each, minlength=number)
    squares = np.bincount(pairs // width, each.astype(np.float64) ** 2, minlength=number)
    return np.where(squares > 0, clicks / np.maximum(squares, 1), 1.0)


class _Spline:
    """The common curve f, fitted step by step."""

    def __init__(self, cells: _Cells) -> None:
        ends = log_odds(np.array([0, 1], np.float32))
        inner = cells.quantiles(_KNOTS)
        inner = inner[(np.diff(inner, prepend=ends[0]) > _APART) & (inner < ends[1] - _APART)]
        self.knots: Float64s = np.concatenate((ends[:1], inner, ends[1:]))
        self._cells = cells
        self._low = _interval(self.knots, cells.z)
        self._right = (cells.z - self.knots[self._low]) / np.diff(self.knots)[self._low]
        rate = cells.purchases.sum() / cells.clicks.sum()
        self.f: Float64s = np.log(rate / max(1 - rate, _CLOSEST)) - _FLATTEST * self.knots
        self._roughness = _roughness(self.knots)

    def of_cells(self, f: Float64s) -> Float64s:
        """Return a curve, given at the knots, in every cell."""
        return f[self._low] + (f[self._low + 1] - f[self._low]) * self._right

    def step(self, departures: Float64s) -> None:
        """Take one Newton step of the penalised likelihood, halved until it gains."""
        cells, count = self._cells, len(self.knots)
        p = expit(departures + self.of_cells(self.f))
        weight, pull = cells.clicks * p * (1 - p), cells.purchases - cells.clicks * p
        left, right = 1 - self._right, self._right

        def summed(lower: Float64s, upper: Float64s) -> Float64s:
            found: Float64s = np.zeros(count)
            found += np.bincount(self._low, lower, minlength=count)
            found += np.bincount(self._low + 1, upper, minlength=count)
            return found

        beside = np.bincount(self._low, weight * left * right, minlength=count)[: count - 1]
        curvature = np.diag(summed(weight * left**2, weight * right**2)) + np.diag(beside, 1) + np.diag(beside, -1)
        target = curvature @ self.f + summed(pull * left, pull * right)
        best = _falling(curvature + self._roughness, target, self.knots)
        before = self._gain(self.f, departures)
        for _ in range(_HALVINGS):
            if self._gain(best, departures) >= before:
                break
            best = (best + self.f) / 2
        self.f = best

    def _gain(self, f: Float64s, departures: Float64s) -> float:
        """Return the penalised log-likelihood."""
        eta = departures + self.of_cells(f)
        cells = self._cells
        return float(cells.purchases @ eta - cells.clicks @ np.logaddexp(0, eta) - f @ self._roughness @ f / 2)


def _roughness(knots: Float64s) -> Float64s:
    """Return the penalty on changes of slope as a quadratic form, float64[K, K]."""
    gaps = np.diff(knots)
    change = np.zeros((len(gaps) - 1, len(knots)))
    row = np.arange(len(gaps) - 1)
    change[row, row] = 1 / gaps[:-1]
    change[row, row + 1] = -1 / gaps[:-1] - 1 / gaps[1:]
    change[row, row + 2] = 1 / gaps[1:]
    change /= np.sqrt((gaps[:-1] + gaps[1:]) / 2 * _ROUGHNESS)[:, None]
    penalty: Float64s = change.T @ change + _RIDGE * np.eye(len(knots))
    return penalty


def _falling(curvature: Float64s, target: Float64s, knots: Float64s) -> Float64s:
    """Return the falling curve that maximises target f - f curvature f / 2, as values at the knots.

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
    """How the slices of one level depart from those above them."""

    def __init__(self, node: Int64s, corners: int) -> None:
        number = len(node)
        self.node = node  # int64[paths]: the slice of this level that each path lies in; `number` for none
        self.values: Float64s = np.zeros((number + 1, corners))
        self._used = np.unique(node[node < number])
        self._covariance: Float64s = _FIRST_VARIANCE * np.eye(corners)
        self._doubt: Float64s = np.zeros((corners, corners))

    def step(self, cells: _Cells, p: Float64s) -> None:
        """Take one Newton step of the penalised likelihood, each slice on its own."""
        node, size, count = self.node[cells.leaf], len(self.values), len(cells.corners)
        weight, pull = cells.clicks * p * (1 - p), cells.purchases - cells.clicks * p

        def summed(values: Float64s) -> Float64s:
            return np.bincount(node, values, minlength=size)[self._used].astype(np.float64)

        prior = np.linalg.inv(self._covariance)
        curvature = np.empty((len(self._used), count, count))
        for one in range(count):
            for other in range(one + 1):
                curvature[:, one, other] = summed(weight * cells.hats[:, one] * cells.hats[:, other])
                curvature[:, other, one] = curvature[:, one, other]
        gain = np.stack([summed(pull * cells.hats[:, one]) for one in range(count)], axis=1)
        doubts = np.linalg.inv(curvature + prior)
        step = np.einsum("nij,nj->ni", doubts, gain - self.values[self._used] @ prior)
        self.values[self._used] += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        self._doubt = doubts.sum(axis=0)

    def learn_scatter(self) -> None:
        """Estimate the covariance of the level's slices from their values and from what is not known of these."""
        values = self.values[self._used]
        known = _PRIOR_SLICES * _PRIOR_VARIANCE * np.eye(values.shape[1])
        self._covariance = (values.T @ values + self._doubt + known) / (len(values) + _PRIOR_SLICES)


def _levels(sample: CalibrationSample, corners: int) -> tuple[list[_Level], tuple[str, ...]]:
    """Return the levels below the root, from the top, and of each path the nearest slice that has purchases."""
    tree = sample.tree
    home = {path: place for place, path in enumerate(tree)}
    lineages = [[home[above] for above in ancestors(path)] for path in tree]
    bought = np.zeros(len(tree), np.bool_)
    for code in np.unique(sample.slices[sample.purchased]):
        bought[lineages[home[sample.paths[code]]]] = True
    nodes = np.full((max(len(lineage) for lineage in lineages) - 1, len(tree)), len(tree))
    for place, lineage in enumerate(lineages):
        for depth, above in enumerate(reversed(lineage[:-1])):
            if bought[above]:
                nodes[depth, place] = above
    homes = tuple(tree[next(above for above in lineage if bought[above])] for lineage in lineages)
    return [_Level(node, corners) for node in nodes], homes
