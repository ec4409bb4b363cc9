"""The slice program on concave envelopes: u is the slope of the upper concave envelope of the slice's own curve.

    maximise    sum_s w_s E_s(f_s)          E_s: upper concave envelope of the points ((k + 1) / (n_s + 1), IVR_s(k))
    subject to  sum_s h_s f_s <= B          h_s = (n_s + 1) / sum (n_s + 1)

k is how many of the slice's n_s purchasing clicks a threshold marks. A threshold that marks k of those seen is charged
with one more, for the raw curve is lucky near zero. The program is linear, and taking the steepest pieces first solves
it.
"""

from __future__ import annotations

import numba
import numpy as np

from slidr.calibration.curves import Curves, Priced, measure, priced
from slidr.calibration.grouping import group
from slidr.calibration.ranking import LOWEST
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Float64s, Int64s
from slidr.settings import CalibrationSettings

_ORDER = 1e-7  # of the price: how much it falls along a straight piece, so that the higher score goes first


def fit(sample: CalibrationSample, settings: CalibrationSettings) -> Priced:
    """Return the ranking by the slope of the envelopes; slices without purchases share that of their parent's rest."""
    del settings
    grouping = group(sample, 1)
    curves = measure(sample, grouping)
    prices, top = envelope_prices(curves)
    return priced(sample, grouping, curves, prices, top, least=LOWEST)


def envelope_prices(curves: Curves) -> tuple[Float64s, Float64s]:
    """Return the price at every point of curves, float64[p], and above the highest of each, float64[groups]."""
    start = np.searchsorted(curves.group, np.arange(len(curves.clicks)))
    slopes, top = _slopes(start, curves.clicks, curves.purchases, curves.clicks_over, curves.purchases_over)
    scale = (curves.purchases + 1).sum() / curves.clicks.sum()
    fall = _ORDER * curves.purchases_from / (curves.purchases[curves.group] + 1)
    return scale * slopes - fall, scale * top


@numba.njit(cache=True)
def _slopes(
    start: Int64s, clicks: Int64s, purchases: Int64s, clicks_over: Int64s, purchases_over: Int64s
) -> tuple[Float64s, Float64s]:
    """Return clicks per purchasing click on the envelope under every point, and above the highest of each group.

    Pieces of the curve from the highest score down; a piece that is steeper than the one before joins it (Andrew's
    monotone chain).
    """
    slopes, top = np.zeros(len(clicks_over)), np.zeros(len(start))
    most = 0
    for number in range(len(start)):
        end = start[number + 1] if number + 1 < len(start) else len(clicks_over)
        most = max(most, end - start[number] + 1)
    size, gain, cost = np.zeros(most, np.int64), np.zeros(most), np.zeros(most)
    for number in range(len(start)):
        end = start[number + 1] if number + 1 < len(start) else len(clicks_over)
        kept, clicks_before, cost_before = 0, 0, 0
        for place in range(end - 1, start[number] - 2, -1):
            below = place >= start[number]
            marked = clicks_over[place] if below else clicks[number]
            spent = (purchases_over[place] if below else purchases[number]) + 1
            size[kept], gain[kept], cost[kept] = 1, marked - clicks_before, spent - cost_before
            clicks_before, cost_before = marked, spent
            while kept > 0 and gain[kept] * cost[kept - 1] >= gain[kept - 1] * cost[kept]:
                size[kept - 1] += size[kept]
                gain[kept - 1] += gain[kept]
                cost[kept - 1] += cost[kept]
                kept -= 1
            kept += 1
        place = end  # the piece above the highest point, and then the pieces under each
        for piece in range(kept):
            for _ in range(size[piece]):
                if place == end:
                    top[number] = gain[piece] / cost[piece]
                else:
                    slopes[place] = gain[piece] / cost[piece]
                place -= 1
    return slopes, top
