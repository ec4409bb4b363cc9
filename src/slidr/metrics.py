"""What can be measured without knowing the truth: invalidation rate, false-positive rate, coverage and their intervals.

No click log says which clicks are robotic, so nothing here is an accuracy. A click is *marked* if and only if its
float32 score is greater than a float32 threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR, MINUTE, SECOND
from slidr.errors import CalibrationError

Bools = NDArray[np.bool_]
Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

MARKS_EVERYTHING = -1.0
"""A threshold under every score, for scores lie in [0, 1]; finite, so that it survives JSON."""

_QUARTER = 15 * MINUTE  # every time zone in use keeps an offset that is a multiple of 15 minutes
_BISECTIONS = 60


def ivr(marked: Bools) -> float:
    """Return the invalidation rate: the share of clicks that are marked.

    >>> ivr(np.array([True, False, False, False]))
    0.25

    Raises:
        CalibrationError: there are no clicks.
    """
    if marked.size == 0:
        raise CalibrationError("an invalidation rate needs clicks, and there are none; check the days that were read")
    return float(marked.mean())


def fpr(marked: Bools, purchased: Bools) -> float | None:
    """Return the false-positive rate: the share of purchasing clicks that are marked; None without purchases.

    >>> fpr(np.array([True, True, False, False]), np.array([False, True, True, False]))
    0.5
    """
    return _share(marked, purchased)


def coverage(marked: Bools, busy: Bools) -> float | None:
    """Return the robotic coverage: the share of clicks in busy sessions that are marked; None without such clicks.

    >>> coverage(np.array([True, True, False]), np.array([True, True, False]))
    1.0
    """
    return _share(marked, busy)


def _share(marked: Bools, among: Bools) -> float | None:
    total = np.count_nonzero(among)
    return float(np.count_nonzero(marked & among) / total) if total else None


def busy(sessions: Int64s, times: Int64s, clicks_per_hour: int) -> Bools:
    """Tell which clicks stand in sessions with more than `clicks_per_hour` clicks within some hour.

    The hour may start at any click of the session; all clicks of a busy session count, those outside the hour too.

    Args:
        sessions: code of each click's session, int64[n]; negative where it has none, which is never busy.
        times: int64[n], microseconds since the epoch, in any order.
        clicks_per_hour: clicks that a session may make in an hour without being busy.

    >>> busy(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 2 * HOUR]), 2)
    array([ True,  True,  True, False, False])
    """
    order = np.lexsort((times, sessions))
    ranked, at = sessions[order], times[order]
    later, earlier = slice(clicks_per_hour, None), slice(None, max(len(order) - clicks_per_hour, 0))
    crowded = (ranked[later] == ranked[earlier]) & (at[later] - at[earlier] < HOUR) & (ranked[later] >= 0)
    return np.isin(sessions, np.unique(ranked[later][crowded]))


@dataclass(frozen=True, eq=False)
class Curve:
    """An IVR-FPR curve, exact at every distinct score of a purchasing click, strictest threshold first.

    The FPR changes only at these scores, so between two of them the lower threshold marks more clicks for the same
    FPR. The last point marks everything.

    Attributes:
        threshold: float32[m], decreasing.
        ivr: float64[m], share of clicks marked, not decreasing.
        fpr: float64[m], share of purchasing clicks marked, increasing from 0 to 1.
        clicks: how many clicks it was measured on.
        purchases: how many of them led to a purchase.
    """

    threshold: Float32s
    ivr: Float64s
    fpr: Float64s
    clicks: int
    purchases: int


def curve(scores: Float32s, purchased: Bools) -> Curve:
    """Return the IVR-FPR curve of scores, float32[n], of which `purchased`, bool[n], led to a purchase.

    >>> found = curve(np.float32([0.9, 0.8, 0.7, 0.2]), np.array([False, True, False, True]))
    >>> found.ivr.tolist(), found.fpr.tolist()
    ([0.25, 0.75, 1.0], [0.0, 0.5, 1.0])

    Raises:
        CalibrationError: no click led to a purchase.
    """
    purchases = int(np.count_nonzero(purchased))
    if purchases == 0:
        raise CalibrationError(
            f"none of {len(scores)} clicks led to a purchase, and at least 1 must; check the purchase log of these days"
        )
    ranked, ranked_purchases = np.sort(scores), np.sort(scores[purchased])
    at = np.append(np.unique(ranked_purchases)[::-1], np.float32(MARKS_EVERYTHING))
    return Curve(
        threshold=at,
        ivr=(len(scores) - np.searchsorted(ranked, at, side="right")) / len(scores),
        fpr=(purchases - np.searchsorted(ranked_purchases, at, side="right")) / purchases,
        clicks=len(scores),
        purchases=purchases,
    )


def knee(of: Curve) -> float:
    """Return the threshold at the knee of a curve: the point farthest above the chord from (0, 0) to (1, 1).

    The chord starts where nothing is marked; farthest above it means the largest IVR - FPR (Satopaa et al.,
    "Finding a Kneedle in a Haystack", 2011).
    """
    return float(of.threshold[np.argmax(of.ivr - of.fpr)])


def threshold_at(of: Curve, budget: float) -> float:
    """Return the smallest threshold whose FPR on this curve is at most the budget.

    >>> found = curve(np.float32([0.9, 0.8, 0.7, 0.2]), np.array([False, True, False, True]))
    >>> [round(threshold_at(found, budget), 6) for budget in (0.0, 0.4, 0.5)]
    [0.8, 0.8, 0.2]
    """
    affordable = allowed(budget, of.purchases) / of.purchases
    return float(of.threshold[np.searchsorted(of.fpr, affordable + 0.5 / of.purchases) - 1])


def allowed(budget: float, purchases: int) -> int:
    """Return how many of the purchasing clicks a budget, a share of them, lets be marked.

    A budget that was itself computed as a share of whole clicks is not lost to rounding.

    >>> allowed(0.005, 1000), allowed(3 / 7, 7)
    (5, 3)
    """
    return min(math.floor(budget * purchases + 1e-9 * max(1.0, budget * purchases)), purchases)


def wilson(marked: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for a share of which `marked` of `total` were seen (Wilson, 1927).

    >>> [round(bound, 3) for bound in wilson(5, 1000)]
    [0.002, 0.012]
    """
    _check_counts(marked, total, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = marked / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def clopper_pearson(marked: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval for a share of which `marked` of `total` were seen (Clopper and Pearson, 1934).

    It holds for independent clicks, and not on the data that chose the threshold.

    >>> [round(bound, 4) for bound in clopper_pearson(5, 1000)]
    [0.0016, 0.0116]
    """
    _check_counts(marked, total, confidence)
    tail = (1 - confidence) / 2
    return 1 - _upper_bound(total - marked, total, tail), _upper_bound(marked, total, tail)


def _upper_bound(count: int, total: int, tail: float) -> float:
    """Return the share p at which P(Bin(total, p) <= count) falls to `tail`."""
    if count == total:
        return 1.0
    chosen = np.arange(1, count + 1)
    log_choices = np.concatenate(([0.0], np.cumsum(np.log((total - chosen + 1) / chosen))))
    successes = np.arange(count + 1)
    low, high = count / total, 1.0
    for _ in range(_BISECTIONS):
        share = (low + high) / 2
        log_terms = log_choices + successes * math.log(share) + (total - successes) * math.log1p(-share)
        low, high = (share, high) if np.exp(log_terms).sum() > tail else (low, share)
    return (low + high) / 2


def _check_counts(marked: int, total: int, confidence: float) -> None:
    if not 0 <= marked <= total or total == 0 or not 0 < confidence < 1:
        raise CalibrationError(
            f"no interval for {marked} of {total} at confidence {confidence}; "
            "give 0 <= marked <= total, a total above 0, and a confidence between 0 and 1"
        )


def hours_of_week(times: Int64s, zone: str) -> NDArray[np.int64]:
    """Return the local hour of the week of each time: int64[n], 0 is Monday 0:00 to 1:00, 167 the last of Sunday.

    Args:
        times: int64[n], microseconds since the epoch, UTC.
        zone: name of the time zone whose clock is read, such as `Europe/Berlin`; summer time is respected.

    >>> hours_of_week(np.array([0]), "UTC").tolist()  # 1970-01-01 was a Thursday
    [72]
    """
    moments, place = local_times(times, zone)
    return np.array([24 * moment.weekday() + moment.hour for moment in moments], np.int64)[place]


def local_times(times: Int64s, zone: str) -> tuple[list[datetime], NDArray[np.int64]]:
    """Return the quarters of an hour in which times lie, by the clock of a zone, and the place of each time among them.

    A log has few quarters and many clicks, and nothing that a clock changes falls within one.

    Args:
        times: int64[n], microseconds since the epoch, UTC.
        zone: name of the time zone; summer time is respected.

    >>> moments, place = local_times(np.array([60_000_000, 0, 900_000_000]), "Asia/Kolkata")
    >>> [f"{moment:%H:%M}" for moment in moments], place.tolist()
    (['05:30', '05:45'], [0, 0, 1])
    """
    quarters, place = np.unique(times // _QUARTER, return_inverse=True)
    local = ZoneInfo(zone)
    seconds = (quarters * (_QUARTER // SECOND)).tolist()
    return [datetime.fromtimestamp(second, local) for second in seconds], place.astype(np.int64, copy=False)


def human_density(times: Int64s, human: Bools, zone: str) -> Float64s:
    """Return the share of clicks labelled human in every hour of the week: float64[7, 24], Monday first.

    An hour without clicks is NaN. Hours in which purchases went missing stand out as zeros, which is what the
    guardrail on this table looks for.
    """
    hours = hours_of_week(times, zone)
    clicks = np.bincount(hours, minlength=168)
    humans = np.bincount(hours[human], minlength=168)
    share: Float64s = np.full(168, np.nan)
    np.divide(humans, clicks, out=share, where=clicks > 0)
    return share.reshape(7, 24)
