"""The paper's slice program: every slice's IVR as a quadratic function of its FPR, under one budget.

    maximise    sum_s w_s q_s(f_s)          q_s(f) = a_s f^2 + b_s f + c_s,  a_s < 0
    subject to  sum_s h_s f_s <= B,  0 <= f_s <= fit_to_fpr

At the optimum the marginal price (w_s / h_s) q_s'(f_s) is the same in all slices, so u is that price at the FPR that
marking the click comes to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slidr.calibration.curves import Curves, Priced, measure, priced
from slidr.calibration.grouping import group
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Float64s
from slidr.settings import CalibrationSettings

_FEWEST_POINTS = 3  # a parabola has three coefficients
_FLATTEST = -1e-6  # of a_s: a straight curve bends so little that no figure shows it, and has one optimum
_FREE = 1e6  # price above every score of a purchasing click, where marking has cost nothing
_UNTRUSTED = -1e-9  # price beyond the fitted end of a curve: under the least level, 0


def fit(sample: CalibrationSample, settings: CalibrationSettings) -> Priced:
    """Return the ranking by the marginal price on the fitted curves.

    Slices below the minimum of purchases share the curve of their parent's rest.
    """
    grouping = group(sample, settings.minimum_purchases)
    curves = measure(sample, grouping)
    q = fit_quadratics(curves, settings.fit_to_fpr)
    n = curves.purchases
    w, h = curves.clicks / len(sample.scores), n / np.count_nonzero(sample.purchased)
    # The k-th purchasing click is worth w (q(k / n) - q((k - 1) / n)), which is the slope half-way.
    f = (curves.purchases_from - 0.5) / n[curves.group]
    price = (w / h)[curves.group] * (2 * q.a[curves.group] * f + q.b[curves.group])
    trusted = curves.purchases_from <= settings.fit_to_fpr * n[curves.group] * (1 + 1e-9)
    prices = np.where(trusted, price, np.minimum(price, _UNTRUSTED * (1 + f)))
    return priced(sample, grouping, curves, prices, np.maximum(_FREE, w / h * q.b), least=0.0)


@dataclass(frozen=True, eq=False)
class Quadratics:
    """The fitted curves q_s(f) = a_s f^2 + b_s f + c_s with a_s < 0, float64[S] each."""

    a: Float64s
    b: Float64s
    c: Float64s

    def __call__(self, f: Float64s) -> Float64s:
        """Return the fitted IVR of every slice at its FPR f: float64[S]."""
        return self.a * f**2 + self.b * f + self.c


def fit_quadratics(curves: Curves, fit_to_fpr: float) -> Quadratics:
    """Fit IVR = a f^2 + b f + c with a < 0 to the low end of every curve, by least squares.

    The low end is FPR f <= `fit_to_fpr`, or the first three points where that holds fewer. Every distinct score of a
    purchasing click is a point. Where the best parabola bends upwards, the best one that does not is a line.
    """
    n = curves.purchases[curves.group]
    within = curves.purchases_over <= np.maximum(fit_to_fpr * n, _FEWEST_POINTS - 1)
    group = curves.group[within]
    ivr = (curves.clicks_over / curves.clicks[curves.group])[within]
    x = (curves.purchases_over / n)[within] / fit_to_fpr  # near 1, for good condition

    def total(values: Float64s) -> Float64s:
        return np.bincount(group, values, minlength=len(curves.purchases)).astype(np.float64)

    moments = [total(x**power) for power in range(5)]
    products = [total(ivr * x**power) for power in range(3)]
    a, b, c = _least_squares(moments, products)
    flat_b, flat_c = _least_squares(moments[:3], products[:2])
    bent = a < 0
    return Quadratics(
        a=np.minimum(np.where(bent, a, 0.0) / fit_to_fpr**2, _FLATTEST),
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
