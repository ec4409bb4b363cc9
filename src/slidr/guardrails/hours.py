"""Hours: counts of an hour, of six and of a day held against the same hours of other days.

The usual count of an hour is the mean of the middle half of the counts at the same local hour (interquartile mean), so
that neither a gap nor a burst of one day moves it. An hour is out of line where its count is so by more than the limit
*and* by more than chance: 2 (sqrt(count + 3/8) - sqrt(limit + 3/8)) is close to a standard normal deviate for a Poisson
count at the limit (Anscombe, 1948), and must lie beyond four.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR, SECOND
from slidr.guardrails.seen import Hours
from slidr.metrics import Float64s, Int64s, hours_of_week
from slidr.settings import GuardrailsSettings

WINDOWS = (1, 6, 24)
"""Hours that are added up."""
_DEVIATES = 4.0
_LEAST_DAYS = 3


class Outlier(NamedTuple):
    """Hours out of line: the place of the first, how many, their count, and what is usual."""

    place: int
    hours: int
    seen: int
    usual: float

    @property
    def ratio(self) -> float:
        """The count in multiples of what is usual."""
        return self.seen / self.usual if self.usual else float("inf")


class Volume(NamedTuple):
    """Hours with far fewer or far more of something than the same hours of other days: in words, and by how much."""

    faults: list[str]
    ratios: dict[str, float | None]


def volume_of(hours: Hours, counts: Int64s, last: int, what: str, limits: GuardrailsSettings) -> Volume:
    """Return where counts are out of line.

    Args:
        hours: of the run.
        counts: of each of them, int64[n].
        last: place after the last hour that is looked at.
        what: is counted, in the plural.
        limits: the settings.
    """
    span = (hours.first, last)
    # Before its first one the log has none: those hours say nothing of what is usual.
    known = np.maximum.accumulate(counts > 0) & (np.arange(len(counts)) < last)
    expected = usual(counts, known, hours.start, hours.zone)
    low = lowest(counts, expected, span, limits.least_volume)
    high = highest(counts, expected, span, limits.most_volume)
    return Volume(
        [told(one, hours.start, hours.zone, what) for one in (low, high) if one is not None],
        {
            "least_ratio": None if low is None else low.ratio,
            "most_ratio": None if high is None else high.ratio,
        },
    )


def usual(values: NDArray[np.generic], places: NDArray[np.bool_], start: int, zone: str) -> Float64s:
    """Return what is usual of each hour: float64[n], NaN where fewer than three days have the hour.

    Args:
        values: of each hour, [n].
        places: the hours that say what is usual, bool[n].
        start: the instant at which the first hour begins, microseconds UTC.
        zone: whose clock says which hours are the same; the hour that summer time repeats or leaves out is one of a day
            with fewer or more of them, and nothing else.
    """
    clock = hours_of_week(start + HOUR * np.arange(len(values), dtype=np.int64), zone) % 24
    found = np.full(len(values), np.nan)
    for hour in range(24):
        among = np.sort(values[(clock == hour) & places].astype(np.float64))
        if len(among) >= _LEAST_DAYS:
            cut = len(among) // 4
            found[clock == hour] = among[cut : len(among) - cut].mean()
    return found


def lowest(
    counts: Int64s,
    usual_counts: Float64s,
    span: tuple[int, int],
    least: float,
    windows: tuple[int, ...] = WINDOWS,
) -> Outlier | None:
    """Return the hours farthest below a share of what is usual; None where none are."""
    return _farthest((counts, usual_counts), span, least, -1, windows)


def highest(counts: Int64s, usual_counts: Float64s, span: tuple[int, int], most: float) -> Outlier | None:
    """Return the 24 hours farthest above a multiple of what is usual; None where none are.

    Only a whole day is looked at: robots may well make ten times the clicks of an hour, and must be learnt from.
    """
    return _farthest((counts, usual_counts), span, most, 1, WINDOWS[-1:])


def _farthest(
    counted: tuple[Int64s, Float64s], span: tuple[int, int], limit: float, sign: int, windows: tuple[int, ...]
) -> Outlier | None:
    first, last = span
    worst: tuple[float, Outlier] | None = None
    for hours in windows:
        if last - first < hours:
            continue
        seen, expected = (_sums(values[first:last], hours) for values in counted)
        deviates = sign * 2 * (np.sqrt(seen + 0.375) - np.sqrt(limit * expected + 0.375))
        deviates[np.isnan(deviates)] = 0
        place = int(np.argmax(deviates))
        if deviates[place] > _DEVIATES and (worst is None or deviates[place] > worst[0]):
            worst = float(deviates[place]), Outlier(first + place, hours, int(seen[place]), float(expected[place]))
    return None if worst is None else worst[1]


def _sums(values: NDArray[np.generic], hours: int) -> Float64s:
    return np.convolve(values.astype(np.float64), np.ones(hours), mode="valid")


def told(outlier: Outlier, start: int, zone: str, what: str) -> str:
    """Say which hours are out of line, by the zone's clock, and by how much."""
    begin = datetime.fromtimestamp((start + outlier.place * HOUR) // SECOND, ZoneInfo(zone))
    span = "the hour" if outlier.hours == 1 else f"the {outlier.hours} hours"
    return (
        f"{outlier.seen:,} {what} in {span} from {begin:%Y-%m-%d %H:%M} ({zone}), where {outlier.usual:,.1f} are usual"
        f" ({outlier.ratio:.2f} of it)"
    )
