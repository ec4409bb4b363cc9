"""Ranking: the order in which clicks of all slices are marked, and the thresholds that a level of it comes to.

A ranking gives every click one number u, which does not fall as the score rises within a slice. One level is picked
for all slices, and a click is marked if and only if u > level. Budget, certificate and thresholds need no more than u.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slidr.metrics import MARKS_EVERYTHING, Float32s, Float64s
from slidr.slices import ROOT, ancestors
from slidr.tables import Threshold

Codes = NDArray[np.integer[Any]]

LOWEST = -float(np.finfo(np.float64).max)
"""Below every u but that of a click which must never be marked; finite, so that it survives JSON."""

_ONE = int(np.float32(1).view(np.int32))  # floats of [0, 1] order as their bits do


class Ranking(Protocol):
    """What a calibration method returns.

    Attributes:
        paths: the slices that it knows, with all that lies above them; the root is among them.
        homes: the slice whose clicks set the curve of each path, aligned with `paths`.
        least: the level under which the method would mark nothing more, whatever the budget.
    """

    @property
    def paths(self) -> tuple[str, ...]:
        """The slices."""
        ...

    @property
    def homes(self) -> tuple[str, ...]:
        """Whose clicks set the curve of each."""
        ...

    @property
    def least(self) -> float:
        """The least level."""
        ...

    def u(self, scores: Float32s, codes: Codes) -> Float64s:
        """Return u of clicks, float64[n]; it does not fall as the score rises, to the last bit.

        Args:
            scores: float32[n] in [0, 1].
            codes: each click's slice, a place in `paths`, int[n].
        """
        ...


def between(at: Float64s, ends: tuple[Float64s, Float64s], values: tuple[Float64s, Float64s]) -> Float64s:
    """Return the values at places between two ends, on a straight line that never falls by rounding, float64[n].

    >>> between(np.array([0.25]), (np.array([0.0]), np.array([1.0])), (np.array([2.0]), np.array([6.0]))).tolist()
    [3.0]
    """
    (low, high), (lower, upper) = ends, values
    span = np.where(high > low, high - low, 1.0)
    line: Float64s = np.clip(lower + (upper - lower) * ((at - low) / span), lower, upper)
    return line


def places(known: Sequence[str], paths: Sequence[str]) -> NDArray[np.int64]:
    """Return where each path, or the nearest one above it, stands among the known: int64[len(paths)].

    >>> places(("all", "device=app"), ("device=app/logged_in=true", "device=web")).tolist()
    [1, 0]
    """
    at = {path: place for place, path in enumerate(known)}
    found = (next((at[above] for above in ancestors(path) if above in at), at[ROOT]) for path in paths)
    return np.fromiter(found, np.int64, len(paths))


def nearest_thresholds(rows: Sequence[Threshold], paths: Sequence[str]) -> Float32s:
    """Return the threshold of each path, or of the nearest one above it that has one, as serving takes it: float32."""
    return np.array([row.threshold for row in rows], np.float32)[places([row.slice for row in rows], paths)]


def thresholds(ranking: Ranking, level: float) -> Float32s:
    """Return the threshold of every path: float32[len(ranking.paths)].

    (score > threshold) == (u > level) holds for every float32 score in [0, 1]: the threshold is the greatest score
    that is not marked, found by bisection over the bits of a float32. Where every score is marked it is -1.
    """
    codes = np.arange(len(ranking.paths))
    unmarked = np.full(len(codes), -1, np.int32)  # bits of a score that is not marked; -1 stands under all
    marked = np.full(len(codes), _ONE + 1, np.int32)
    while (marked - unmarked > 1).any():
        middle = np.maximum((unmarked + marked) // 2, 0)
        over = ranking.u(middle.view(np.float32), codes) > level
        unmarked, marked = np.where(over, unmarked, middle), np.where(over, middle, marked)
    greatest = np.maximum(unmarked, 0).view(np.float32)
    return np.where(unmarked < 0, np.float32(MARKS_EVERYTHING), greatest)
