"""Rows of THRESHOLDS: what a calibration's thresholds do to the clicks it was made on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slidr.calibration.ranking import Ranking, places, thresholds
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Bools, Int64s
from slidr.slices import ROOT, ancestors
from slidr.tables import Threshold, ThresholdSource


def threshold_rows(ranking: Ranking, level: float, sample: CalibrationSample) -> tuple[Threshold, ...]:
    """Return one row for every slice with clicks or a curve, and for everything above it, the root first.

    The figures of a row are those of all clicks in the slice, each judged by the threshold of its own slice, so the
    root's are those of the whole day. A slice that only the ranking knows has no clicks and no figures.

    Args:
        ranking: the ranking.
        level: clicks with a greater u are marked.
        sample: the clicks that the figures are of.
    """
    limits = thresholds(ranking, level)
    paths = sorted({*ranking.paths, *sample.tree}, key=lambda path: (len(ancestors(path)), path))
    marked = sample.scores > limits[places(ranking.paths, sample.paths)][sample.slices]
    columns = (None, sample.purchased, sample.busy, marked, marked & sample.purchased, marked & sample.busy)
    by_code = np.stack([_count(sample, column) for column in columns], axis=1)
    totals: dict[str, NDArray[Any]] = {path: np.zeros(len(columns), np.int64) for path in paths}
    for path, counts in zip(sample.paths, by_code, strict=True):
        if counts[0]:
            for above in ancestors(path):
                totals[above] = totals[above] + counts
    homes = places(ranking.paths, paths)
    return tuple(
        _row(path, totals[path].tolist(), float(limits[home]), ranking.homes[home])
        for path, home in zip(paths, homes, strict=True)
    )


def _count(sample: CalibrationSample, among: Bools | None) -> Int64s:
    codes = sample.slices if among is None else sample.slices[among]
    return np.bincount(codes, minlength=len(sample.paths))


def _row(path: str, totals: list[int], threshold: float, home: str) -> Threshold:
    clicks, purchases, busy, marked, marked_purchases, marked_busy = totals
    return Threshold(
        slice=path,
        threshold=threshold,
        ivr=marked / clicks if clicks else None,
        fpr=marked_purchases / purchases if purchases else None,
        coverage=marked_busy / busy if busy else None,
        clicks=clicks,
        purchases=purchases,
        source=_source(path, home),
    )


def _source(path: str, home: str) -> ThresholdSource:
    if home == ROOT:
        return ThresholdSource.GLOBAL
    return ThresholdSource.OWN if home == path else ThresholdSource.PARENT
