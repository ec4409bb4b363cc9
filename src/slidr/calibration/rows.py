"""Rows of THRESHOLDS: what a calibration's thresholds do to the clicks it was made on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slidr.calibration.grouping import Grouping
from slidr.calibration.sample import CalibrationSample
from slidr.errors import InfeasibleBudgetError
from slidr.metrics import Bools, Float32s, Int64s
from slidr.slices import ROOT, ancestors
from slidr.tables import Threshold, ThresholdSource

_NAMED = 5  # slices that a message names


def threshold_rows(sample: CalibrationSample, grouping: Grouping, thresholds: Float32s) -> tuple[Threshold, ...]:
    """Return one row for every slice with clicks and for everything above it, the root first.

    The figures of a row are those of all clicks in the slice, each judged by the threshold of its own group, so the
    root's are those of the whole day.

    Args:
        sample: the clicks.
        grouping: which group each slice is calibrated with.
        thresholds: float32[groups].
    """
    marked = sample.scores > thresholds[grouping.of_code][sample.slices]
    columns = (None, sample.purchased, sample.busy, marked, marked & sample.purchased, marked & sample.busy)
    by_code = np.stack([_count(sample, column) for column in columns], axis=1)
    totals: dict[str, NDArray[Any]] = {}
    for path, counts in zip(sample.paths, by_code, strict=True):
        if counts[0]:
            for above in ancestors(path):
                totals[above] = totals[above] + counts if above in totals else counts
    order = sorted(totals, key=lambda path: (len(ancestors(path)), path))
    return tuple(_row(path, totals[path], grouping, thresholds) for path in order)


def _count(sample: CalibrationSample, among: Bools | None) -> Int64s:
    codes = sample.slices if among is None else sample.slices[among]
    return np.bincount(codes, minlength=len(sample.paths))


def _row(path: str, totals: NDArray[Any], grouping: Grouping, thresholds: Float32s) -> Threshold:
    clicks, purchases, busy, marked, marked_purchases, marked_busy = totals.tolist()
    home = grouping.of_path[path]
    return Threshold(
        slice=path,
        threshold=float(thresholds[home]),
        ivr=marked / clicks,
        fpr=marked_purchases / purchases if purchases else None,
        coverage=marked_busy / busy if busy else None,
        clicks=clicks,
        purchases=purchases,
        source=_source(path, grouping.paths[home]),
    )


def _source(path: str, home: str) -> ThresholdSource:
    if home == ROOT:
        return ThresholdSource.GLOBAL
    return ThresholdSource.OWN if home == path else ThresholdSource.PARENT


def infeasible(budget: float, needed: Int64s, paths: tuple[str, ...], purchases: int) -> InfeasibleBudgetError:
    """Return the error of a budget too small for the minimum coverage.

    Args:
        budget: the budget asked for.
        needed: int64[groups], purchasing clicks that the minimum coverage marks.
        paths: the groups.
        purchases: all purchasing clicks.
    """
    dearest = tuple(paths[place] for place in np.argsort(-needed, kind="stable") if needed[place])
    least = int(needed.sum()) / purchases
    more = f" and {len(dearest) - _NAMED} more" if len(dearest) > _NAMED else ""
    return InfeasibleBudgetError(
        f"calibration.minimum_coverage marks {needed.sum()} of {purchases} purchasing clicks, an FPR of {least:.6f}, "
        f"and calibration.fpr_budget is {budget}; raise the budget to that, or lower the coverage. "
        f"Dearest slices: {', '.join(dearest[:_NAMED])}{more}",
        budget=budget,
        least_feasible=least,
        slices=dearest,
    )
