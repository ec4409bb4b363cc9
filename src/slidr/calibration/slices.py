"""A threshold for every slice: the paper's program on quadratic curves, under one false-positive budget."""

from __future__ import annotations

from typing import Any

import numpy as np

from slidr.calibration.curves import Curves, coverage_floor, fit_quadratics, measure
from slidr.calibration.grouping import group
from slidr.calibration.program import SliceProgram
from slidr.calibration.rows import infeasible, threshold_rows
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Bools, Int64s, allowed, curve, threshold_at
from slidr.settings import CalibrationSettings
from slidr.tables import Threshold

_ALL = slice(None)
_ROUNDING = 1e-6  # purchasing clicks by which a solver may miss a whole one


def calibrate(
    sample: CalibrationSample, settings: CalibrationSettings, minimum_purchases: int
) -> tuple[Threshold, ...]:
    """Return a threshold for every slice with clicks, for everything above it, and for the root.

    Slices below the minimum of purchases are calibrated with their parent's rest. Where the root's own rest is below
    it too, it takes the threshold of the whole traffic, and what that costs is taken off the budget first.

    Raises:
        InfeasibleBudgetError: the minimum coverage costs more than the budget.
    """
    grouping = group(sample, minimum_purchases)
    groups, number = grouping.of_code[sample.slices], len(grouping.paths)
    floors = coverage_floor(sample.scores, sample.busy, groups, number, settings.minimum_coverage)
    above_floor = sample.purchased & (sample.scores > floors[groups])
    needed = np.bincount(groups[above_floor], minlength=number)
    purchases = int(grouping.purchases.sum())
    budgeted = allowed(settings.fpr_budget, purchases)
    if needed.sum() > budgeted:
        raise infeasible(settings.fpr_budget, needed, grouping.paths, purchases)

    thresholds = np.empty(number, dtype=np.float32)
    fitted, spent = number, 0
    if number > 1 and grouping.purchases[-1] < minimum_purchases:
        fitted -= 1
        rest = groups == fitted
        room = budgeted - int(needed[:-1].sum())
        thresholds[-1] = min(floors[-1], _borrowed(sample, rest, settings.fpr_budget, room))
        spent = int(np.count_nonzero(sample.purchased & rest & (sample.scores > thresholds[-1])))
    curves = measure(sample.scores, sample.purchased, np.where(groups < fitted, groups, -1), fitted)
    left = budgeted - spent
    marked = needed[:fitted]
    if marked.sum() < left:
        program = _program(curves, marked, settings, clicks=len(groups), purchases=purchases, spent=spent)
        marked = _spend(curves, marked, left, program)
    thresholds[:fitted] = np.minimum(curves.threshold(marked), floors[:fitted])
    return threshold_rows(sample, grouping, thresholds)


def _borrowed(sample: CalibrationSample, rest: Bools, budget: float, room: int) -> float:
    """Return the threshold of the whole traffic, raised until it marks at most `room` purchasing clicks of the rest."""
    whole = threshold_at(curve(sample.scores, sample.purchased), budget)
    bought = np.sort(sample.scores[rest & sample.purchased])[::-1]
    return max(whole, float(bought[room])) if room < len(bought) else whole


def _program(
    curves: Curves, needed: Int64s, settings: CalibrationSettings, *, clicks: int, purchases: int, spent: int
) -> SliceProgram:
    """Return the program over the fitted curves, with what is left of the budget."""
    lo = needed / curves.purchases
    return SliceProgram(
        w=curves.clicks / clicks,
        h=curves.purchases / purchases,
        q=fit_quadratics(curves, settings.fit_to_fpr),
        lo=lo,
        hi=np.maximum(lo, settings.fit_to_fpr),
        budget=settings.fpr_budget - spent / purchases,
    )


def _spend(curves: Curves, needed: Int64s, budgeted: int, program: SliceProgram) -> Int64s:
    """Return how many purchasing clicks each group's threshold may mark: whole clicks, at most `budgeted` in all.

    The program's shares are rounded down. What rounding leaves of the budget goes, click by click, where the fitted
    curves gain most; what it overspent, by a solver's tolerance, is taken back where they lose least.
    """

    def gain(group: slice | int, marked: Int64s) -> Any:
        """Return what one more purchasing click buys these groups, as a share of all clicks."""
        n, q = curves.purchases[group], program.q[group]
        return program.w[group] * (q((marked[group] + 1) / n) - q(marked[group] / n))

    marked = np.floor(program.solve() * curves.purchases + _ROUNDING).astype(np.int64)
    marked = np.clip(marked, needed, curves.purchases)
    while marked.sum() > budgeted:
        loss = np.where(marked > needed, gain(_ALL, marked - 1), np.inf)
        marked[np.argmin(loss)] -= 1
    most = np.floor(program.hi * curves.purchases + _ROUNDING).astype(np.int64)
    worth = np.where(marked < most, gain(_ALL, marked), 0.0)
    for _ in range(budgeted - int(marked.sum())):
        best = int(np.argmax(worth))
        if worth[best] <= 0:
            break
        marked[best] += 1
        worth[best] = gain(best, marked) if marked[best] < most[best] else 0.0
    return marked
