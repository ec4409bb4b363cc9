"""Histogram: latencies of any number of requests in a fixed space, to three figures (Gil Tene's HDR histogram).

Whole microseconds up to 2,047 have a cell each; above, every doubling has 1,024 cells, so that a value is known to one
part in 1,000 however large it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BITS = 10
_CELLS = 1 << _BITS  # of every doubling
_LONGEST = 3600  # seconds: what is longer counts as this
_MICROSECONDS = 1e6
_TICKS = 5
"""Lines of the distribution from each share to the one that halves what is missing to the whole."""
_MILLISECOND = 1000


class Histogram:
    """Counts of latencies.

    >>> histogram = Histogram()
    >>> histogram.record([0.001, 0.002, 0.5])
    >>> histogram.quantile(0.5), histogram.quantile(1.0), histogram.count
    (0.002, 0.5, 3)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(int(_cells(np.array([_LONGEST * _MICROSECONDS], np.int64))[0]) + 1, np.int64)
        self._count, self._greatest = 0, 0.0
        self._sum = 0  # of whole microseconds, so that it is the same in any order

    @property
    def count(self) -> int:
        """Latencies recorded."""
        return self._count

    @property
    def greatest(self) -> float:
        """The greatest latency, seconds."""
        return self._greatest

    @property
    def mean(self) -> float:
        """The mean, seconds; NaN without latencies."""
        count = self.count
        return self._sum / count / _MICROSECONDS if count else float("nan")

    def record(self, seconds: ArrayLike) -> None:
        """Count latencies, in seconds; NaN is left out."""
        values = np.asarray(seconds, np.float64)
        values = values[~np.isnan(values)]
        if not len(values):
            return
        whole = np.rint(np.clip(values, 0, _LONGEST) * _MICROSECONDS).astype(np.int64)
        np.add.at(self._counts, _cells(whole), 1)
        self._sum += int(whole.sum())
        self._count += len(values)
        self._greatest = max(self._greatest, float(values.max()))

    def quantile(self, share: float) -> float:
        """Return the seconds within which at least this share of the latencies lie; NaN without latencies."""
        count = self.count
        if not count:
            return float("nan")
        # Rounded first: 0.9999 * 10,000 is a hair above 9,999, and the ceiling would take the greatest.
        rank = max(1, math.ceil(round(share * count, 6)))
        cell = np.asarray(np.searchsorted(np.cumsum(self._counts), rank))
        return min(int(_highest(cell)) / _MICROSECONDS, self._greatest)

    def distribution(self) -> str:
        """Return the distribution in the text form that the tools of HDR histograms plot, in milliseconds."""
        lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
        for cell, share, total in self._lines():
            value = min(int(_highest(np.asarray(cell))) / _MILLISECOND, self._greatest * _MILLISECOND)
            missing = "" if share >= 1 else f" {1 / (1 - share):14.2f}"
            lines.append(f"{value:12.3f} {share:2.12f} {total:10d}{missing}")
        count = self.count
        lines += [
            f"#[Mean    = {self.mean * _MILLISECOND:12.3f}, StdDeviation   = {self._deviation() * _MILLISECOND:12.3f}]",
            f"#[Max     = {self._greatest * _MILLISECOND:12.3f}, Total count    = {count:12d}]",
            f"#[Buckets = {len(self._counts) // _CELLS:12d}, SubBuckets     = {2 * _CELLS:12d}]",
        ]
        return "\n".join(lines) + "\n"

    def _deviation(self) -> float:
        """Return the standard deviation, seconds, of the cells' middles, as HDR histograms have it."""
        if not self.count:
            return float("nan")
        cells = np.flatnonzero(self._counts)
        # A cell begins one above the greatest number of the cell before.
        middles = (_highest(cells - 1) + 1 + _highest(cells)) / 2 / _MICROSECONDS
        return math.sqrt(float((self._counts[cells] * (middles - self.mean) ** 2).sum()) / self.count)

    def _lines(self) -> Iterator[tuple[int, float, int]]:
        """Yield cell, share and the count up to there, ever more densely towards the whole."""
        totals = np.cumsum(self._counts)
        count = int(totals[-1])
        share, cell = 0.0, -1
        while count and (cell < 0 or totals[cell] < count):
            cell = int(np.searchsorted(totals, max(1, math.ceil(share * count))))
            yield cell, share, int(totals[cell])
            share += (1 - share) / _TICKS / 2 if share else 1 / _TICKS / 2
        if count:
            yield cell, 1.0, count


def _cells(whole: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the cell of each value in whole microseconds: the doubling that it lies in, and its leading bits there."""
    doubling = np.maximum(np.frexp(whole.astype(np.float64))[1].astype(np.int64) - _BITS - 1, 0)
    cells: NDArray[np.int64] = doubling * _CELLS + (whole >> doubling)
    return cells


def _highest(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the greatest whole number of microseconds that each cell holds; below the first one -1."""
    doubling = np.maximum(cells // _CELLS - 1, 0)
    highest: NDArray[np.int64] = (((cells - doubling * _CELLS) + 1) << doubling) - 1
    return highest
