"""Bounds: limits on the threshold of each slice, from the minimum coverage and from the champion's decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slidr.calibration.ranking import Codes, Ranking, nearest_thresholds
from slidr.calibration.sample import CalibrationSample
from slidr.errors import CalibrationError
from slidr.metrics import MARKS_EVERYTHING, Bools, Float32s, Float64s
from slidr.settings import CalibrationSettings
from slidr.tables import Threshold

_NAMED = 5  # slices that a message names
_ROUNDING = 1e-9  # a whole share of the clicks is not lost to rounding


@dataclass(frozen=True, eq=False)
class Champion:
    """What decides now.

    Attributes:
        scores: float32[n], its scores of the clicks that bounds are set on.
        thresholds: its thresholds.
    """

    scores: Float32s
    thresholds: tuple[Threshold, ...]

    def marked(self, sample: CalibrationSample) -> Bools:
        """Return which clicks of a sample it marks, bool[n], as serving would: by the nearest slice with a threshold.

        Raises:
            CalibrationError: the scores are not those of the sample's clicks.
        """
        if len(self.scores) != len(sample.scores):
            raise CalibrationError(
                f"the champion scored {len(self.scores)} clicks, and {len(sample.scores)} are calibrated on; score "
                "the same clicks with both networks"
            )
        return self.scores > nearest_thresholds(self.thresholds, sample.paths)[sample.slices]


@dataclass(frozen=True, eq=False)
class Bounded:
    """A ranking under bounds: what must be marked has u = inf, and what must not has u = -inf.

    Attributes:
        ranking: the ranking.
        always: float32[len(paths)], a click with a greater score is marked.
        never: float32[len(paths)], a click with no greater score is not; nowhere above `always`.
    """

    ranking: Ranking
    always: Float32s
    never: Float32s

    @property
    def paths(self) -> tuple[str, ...]:
        """The slices of the ranking."""
        return self.ranking.paths

    @property
    def homes(self) -> tuple[str, ...]:
        """Whose clicks set the curve of each."""
        return self.ranking.homes

    @property
    def least(self) -> float:
        """The least level of the ranking."""
        return self.ranking.least

    def u(self, scores: Float32s, codes: Codes) -> Float64s:
        """Return u of clicks, float64[n]."""
        u = self.ranking.u(scores, codes)
        return np.where(scores > self.always[codes], np.inf, np.where(scores <= self.never[codes], -np.inf, u))


def bounded(
    ranking: Ranking, sample: CalibrationSample, settings: CalibrationSettings, champion: Champion | None
) -> Ranking:
    """Return the ranking under the bounds that the settings ask for; each slice with clicks is bound on its own.

    Raises:
        CalibrationError: the bounds of a slice contradict each other.
    """
    changes = (settings.most_ivr_change, settings.most_fpr_change, settings.most_flips)
    if settings.minimum_coverage <= 0 and (champion is None or min(changes) >= 1):
        return ranking
    always = np.full(len(ranking.paths), np.inf, np.float32)
    never = np.full(len(ranking.paths), -np.inf, np.float32)
    before = champion.marked(sample) if champion else None
    known = {path: place for place, path in enumerate(ranking.paths)}
    order = np.argsort(sample.slices, kind="stable")
    ends = np.cumsum(np.bincount(sample.slices, minlength=len(sample.paths)))
    torn = []
    for code, clicks in enumerate(np.split(order, ends[:-1])):
        if len(clicks) == 0:
            continue
        place = known[sample.paths[code]]
        for low, high in _limits(sample, clicks, before, settings):
            never[place], always[place] = max(never[place], low), min(always[place], high)
        if never[place] > always[place]:
            torn.append(sample.paths[code])
    if torn:
        raise CalibrationError(
            f"no threshold of {', '.join(torn[:_NAMED])}{'' if len(torn) <= _NAMED else ' and others'} keeps "
            f"calibration.minimum_coverage = {settings.minimum_coverage}, most_ivr_change = "
            f"{settings.most_ivr_change}, most_fpr_change = {settings.most_fpr_change} and most_flips = "
            f"{settings.most_flips} at once; loosen one of them"
        )
    return Bounded(ranking, always, never)


def _limits(
    sample: CalibrationSample, clicks: Codes, before: Bools | None, settings: CalibrationSettings
) -> Iterator[tuple[float, float]]:
    """Yield the intervals that the threshold of a slice, whose clicks these are, must lie in."""
    scores, bought, busy = sample.scores[clicks], sample.purchased[clicks], sample.busy[clicks]
    if settings.minimum_coverage > 0 and busy.any():
        yield _marking(scores[busy], settings.minimum_coverage, 1.0)
    if before is None:
        return
    was = before[clicks]
    if settings.most_ivr_change < 1:
        share = float(was.mean())
        yield _marking(scores, share - settings.most_ivr_change, share + settings.most_ivr_change)
    if settings.most_fpr_change < 1 and bought.any():
        share = float(was[bought].mean())
        yield _marking(scores[bought], share - settings.most_fpr_change, share + settings.most_fpr_change)
    if settings.most_flips < 1:
        yield _flipping(scores, was, settings.most_flips)


def _marking(scores: Float32s, least: float, most: float) -> tuple[float, float]:
    """Return the interval of thresholds that mark at least and at most such a share of the scores."""
    ranked, n = np.sort(scores)[::-1], len(scores)
    fewest = max(int(np.ceil(least * n - _ROUNDING * n)), 0)
    largest = int(np.floor(most * n + _ROUNDING * n))
    high = np.inf if fewest == 0 else _under(ranked[fewest - 1])
    low = -np.inf if largest >= n else ranked[largest]
    return float(low), float(high)


def _under(score: np.float32) -> float:
    """Return the largest threshold that marks a score."""
    return float(np.nextafter(score, np.float32(MARKS_EVERYTHING)))


def _flipping(scores: Float32s, before: Bools, most: float) -> tuple[float, float]:
    """Return the widest interval around the best threshold in which at most such a share of the decisions flips.

    Where even the best threshold flips more, the interval is empty: its lower end is above its upper one.
    """
    ranked, place = np.unique(scores, return_inverse=True)
    was = np.bincount(place, before, minlength=len(ranked))
    clicks = np.bincount(place, minlength=len(ranked))
    # A threshold at the i-th score in ascending order, or under all of them: what lies above is marked.
    lost = np.concatenate(([0], np.cumsum(was)))
    won = np.concatenate((np.cumsum((clicks - was)[::-1])[::-1], [0]))
    fine = lost + won <= most * len(scores) + _ROUNDING * len(scores)
    best = int(np.argmin(lost + won))
    if not fine[best]:
        return np.inf, -np.inf
    low = best - int(np.argmin(np.append(fine[best::-1], False))) + 1
    high = best + int(np.argmin(np.append(fine[best:], False))) - 1
    lower = -np.inf if low == 0 else ranked[low - 1]
    upper = np.inf if high == len(ranked) else _under(ranked[high])
    return float(lower), float(upper)
