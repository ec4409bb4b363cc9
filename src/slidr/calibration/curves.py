"""Curves: the empirical IVR-FPR curves of thousands of groups at once, and the ranking that prices on them make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slidr.calibration.grouping import Grouping
from slidr.calibration.ranking import Codes, between
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Float32s, Float64s, Int64s

_BITS = 0xFFFFFFFF
_ONE = int(np.float32(1).view(np.int32))


def _keys(groups: Codes, scores: Float32s) -> Int64s:
    """Return integers that order by group and then by score: a float of [0, 1] orders as its bits do."""
    bits = np.ascontiguousarray(scores + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
    return (groups.astype(np.int64) << 32) | bits


def _scores(keys: Int64s) -> Float32s:
    return (keys & _BITS).astype(np.int32).view(np.float32)


@dataclass(frozen=True, eq=False)
class Curves:
    """The curve of every group in one array: the distinct scores of its purchasing clicks, lowest first.

    Attributes:
        group: int64[p], the group of each point.
        score: float32[p].
        purchases_over: int64[p], purchasing clicks of the group with a greater score: what a threshold here marks.
        clicks_over: int64[p], clicks of the group with a greater score.
        purchases_from: int64[p], purchasing clicks with this score or a greater one.
        clicks: int64[groups].
        purchases: int64[groups], 1 or more each.
    """

    group: Int64s
    score: Float32s
    purchases_over: Int64s
    clicks_over: Int64s
    purchases_from: Int64s
    clicks: Int64s
    purchases: Int64s


def measure(sample: CalibrationSample, grouping: Grouping) -> Curves:
    """Measure the curve of every group; the last is that of the whole traffic where the grouping says so."""
    groups, scores, purchased = grouping.of_code[sample.slices], sample.scores, sample.purchased
    last = len(grouping.paths) - 1
    if grouping.root_borrows:
        rest = groups == last
        groups = np.concatenate((groups[~rest], np.full(len(scores), last)))
        purchased = np.concatenate((purchased[~rest], purchased))
        scores = np.concatenate((scores[~rest], scores))
    keys = _keys(groups, scores)
    bought = np.sort(keys[purchased])
    keys = np.sort(keys)
    points = np.unique(bought)
    group = points >> 32
    clicks = np.bincount(groups, minlength=last + 1)
    purchases = np.bincount(groups[purchased], minlength=last + 1)
    click_end, purchase_end = np.cumsum(clicks)[group], np.cumsum(purchases)[group]
    return Curves(
        group=group,
        score=_scores(points),
        purchases_over=purchase_end - np.searchsorted(bought, points, side="right"),
        clicks_over=click_end - np.searchsorted(keys, points, side="right"),
        purchases_from=purchase_end - np.searchsorted(bought, points, side="left"),
        clicks=clicks,
        purchases=purchases,
    )


@dataclass(frozen=True, eq=False)
class Priced:
    """The ranking by price: how many clicks one more purchasing click lets mark, against the whole traffic's average.

    Between the scores of purchasing clicks u is a straight line.

    Attributes:
        paths: the slices and all above them.
        homes: the group of each.
        least: the least level.
        group: int64[len(paths)], the group as a number.
        keys: int64[m], group and score of every point, ascending; each group has points at 0 and 1.
        prices: float64[m], not falling within a group.
    """

    paths: tuple[str, ...]
    homes: tuple[str, ...]
    least: float
    group: Int64s
    keys: Int64s
    prices: Float64s

    def u(self, scores: Float32s, codes: Codes) -> Float64s:
        """Return u of clicks, float64[n]."""
        asked = _keys(self.group[codes], scores)
        low = np.searchsorted(self.keys, asked, side="right") - 1
        high = np.minimum(low + 1, len(self.keys) - 1)
        high = np.where(self.keys[low] >> 32 == self.keys[high] >> 32, high, low)
        ends = _scores(self.keys[low]).astype(np.float64), _scores(self.keys[high]).astype(np.float64)
        return between(scores.astype(np.float64), ends, (self.prices[low], self.prices[high]))


def priced(
    sample: CalibrationSample, grouping: Grouping, curves: Curves, prices: Float64s, top: Float64s, least: float
) -> Priced:
    """Return the ranking by prices at the points of curves.

    Args:
        sample: the clicks.
        grouping: their groups.
        curves: the curves of the groups.
        prices: float64[p], the price at each point, where a click of this score is marked too.
        top: float64[groups], the price above the highest point.
        least: the level under which nothing is to be marked.
    """
    numbers = np.arange(len(curves.clicks))
    first = np.searchsorted(curves.group, numbers)
    ends = np.concatenate((numbers << 32, (numbers << 32) | _ONE, _keys(curves.group, curves.score)))
    # A point at 0 or at 1 of the curve's own comes last, and counts.
    values = np.concatenate((prices[first], top, prices))
    keys, place = np.unique(ends[::-1], return_index=True)
    paths = sample.tree
    group = np.array([grouping.of_path[path] for path in paths])
    return Priced(paths, tuple(grouping.paths[number] for number in group), least, group, keys, values[::-1][place])
