"""Deviations: what the counts of the last hours show beside what the bundle expects and earlier weeks had."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from slidr.clock import DAY, HOUR, MINUTE
from slidr.monitor.counting import BINS
from slidr.monitor.daytime import by_hour
from slidr.monitor.expected import Expected
from slidr.monitor.state import NUMBERS, Row, State
from slidr.monitor.statistics import (
    Baseline,
    Excursion,
    Float64s,
    Steps,
    baseline,
    chosen,
    excursion,
    limit,
    rising,
    spread,
    stability,
    stability_limit,
)
from slidr.monitor.volume import MISSING_SPREAD, Usual, every_minute, robots_alone, volume_spread
from slidr.settings import MonitorSettings
from slidr.slices import ROOT

OTHER = "(other)"
"""Slices beyond those that are watched one by one."""
_PLACE = {name: place for place, name in enumerate(NUMBERS)}
_WEEKS = (1, 2, 3, 4, 5)
_DAY, _WEEK = DAY // MINUTE, 7 * DAY // MINUTE
_BACK = DAY
_BACK_PURCHASES = 7 * DAY
_FEWEST = 50
"""Clicks of an hour of an earlier week that tell a share."""
_SPREAD, _PERSONS_SPREAD = 4.0, 2.0
"""Where there is too little to measure it, and of clicks of people, who make a few each."""
_IVR = frozenset({"ivr", "low_ivr"})
_MOST_MARGIN = 2 / 3
"""Of the clicks that are valid as a rule."""
_MATERIAL = 0.05
"""False positives that auditors call material."""


class Deviation(NamedTuple):
    """One thing that is watched, as it stands.

    Attributes:
        metric: `ivr`, `low_ivr`, `unmeasurable`, `trusted`, `fpr`, `clicks` or `scores`.
        slice: where.
        against: what it is held against: `bundle`, `weeks` or `budget`.
        observed: the share in the clicks of the deviation; of `clicks` how many a minute; of scores their index.
        expected: the usual share; the usual clicks a minute; the largest index that is usual.
        excursion: what its sum shows.
        limit: of the sum.
        enough: whether it rests on enough clicks.
        robots: whether the number of clicks tells that other robots came, and as many people as usual.
    """

    metric: str
    slice: str
    against: str
    observed: float
    expected: float
    excursion: Excursion
    limit: float
    enough: bool
    robots: bool = False

    @property
    def key(self) -> str:
        """Names what is watched."""
        return f"{self.metric} {self.slice} {self.against}"

    @property
    def sharp(self) -> bool:
        """Whether it is a sharp deviation."""
        return self.enough and self.excursion.sum > self.limit

    @property
    def over(self) -> bool:
        """Whether one that was sharp is over."""
        return self.excursion.sum < self.limit / 2


class _Series(NamedTuple):
    """What is to be watched: how it is called, its steps, the usual share in the middle, spread and least clicks."""

    metric: str
    slice: str
    against: str
    steps: Steps
    centre: Float64s
    spread: float
    least: int


@dataclass(frozen=True, eq=False)
class Counted:
    """Counts of minutes.

    Attributes:
        starts: the minutes, ascending, float64[n].
        columns: their counts in the order of `NUMBERS`, float64[n, ...].
    """

    starts: Float64s
    columns: Float64s

    def of(self, name: str) -> Float64s:
        """Return the counts of a name, float64[n]."""
        return self.columns[:, _PLACE[name]]


def counted(rows: Sequence[Row]) -> Counted:
    """Return rows summed by minute."""
    if not rows:
        return Counted(np.zeros(0), np.zeros((0, len(NUMBERS))))
    starts, place = np.unique(np.array([row.start for row in rows], np.float64), return_inverse=True)
    columns = np.zeros((len(starts), len(NUMBERS)))
    np.add.at(columns, place, np.array([row.numbers for row in rows], np.float64))
    return Counted(starts, columns)


class Watch:
    """Works out what deviates.

    Args:
        state: the counts.
        settings: the limits.
        budget: the false-positive budget.
    """

    def __init__(self, state: State, settings: MonitorSettings, budget: float) -> None:
        self._state, self._settings, self._budget = state, settings, budget
        self._hour = -1
        self._weeks: dict[tuple[str, str], dict[int, list[float]]] = {}
        self._spreads: dict[tuple[str, str], float] = {}
        self._baselines: dict[tuple[str, str, int], Baseline | None] = {}

    def deviations(self, expected: Expected, since: int, now: int) -> list[Deviation]:
        """Return everything that is watched of a champion, sharp or not.

        Only whole minutes count, so that a look in the middle of one says the same as one at its end.

        Args:
            expected: what the champion expects.
            since: when it became champion, microseconds UTC.
            now: microseconds UTC.
        """
        self._refresh(now)
        end = now // MINUTE
        first = max(since // MINUTE, (now - _BACK) // MINUTE)
        rows = [row for row in self._state.rows("minutes", first) if row.bundle == expected.bundle and row.start < end]
        bought_first = max(since, now - _BACK_PURCHASES) // MINUTE
        bought = [
            row for row in self._state.rows("minutes", bought_first, bought=True) if row.bundle == expected.bundle
        ]
        counts = counted(rows)
        minutes = every_minute(counts.starts, counts.of("clicks"), end)
        series = [
            *self._invalid(rows, expected),
            *self._unmeasurable(rows),
            *self._trusted(rows),
            *self._false(bought, expected),
            *self._volume(minutes, expected),
        ]
        most = limit(self._settings.days_between_false_alarms, len(series) + 1)
        told = [self._told_by_volume(self._judged(one, most), minutes) for one in series]
        return [*told, *self._scores(rows, expected, end)]

    def _told_by_volume(self, one: Deviation, minutes: tuple[Float64s, Float64s]) -> Deviation:
        """Say of a sharply changed share of all clicks whether other robots alone have changed it."""
        if not one.sharp or one.metric not in _IVR or one.slice != ROOT:
            return one
        inside = minutes[0] >= one.excursion.since
        usual = np.array([self._usual_clicks(int(start)) for start in minutes[0][inside]])
        if not usual.any():
            return one
        clicks = minutes[1][inside][usual > 0].sum()
        return one._replace(robots=robots_alone(float(clicks), float(usual.sum()), one.observed, one.expected))

    def _usual_clicks(self, start: int) -> float:
        """Return the usual clicks of a minute, by earlier weeks or else the day before; 0 where nobody knows.

        A bundle that may be bad is no witness: what it learnt from may have lacked clicks.
        """
        week = self._usual(ROOT, "clicks", start)
        if week is not None:
            return week.centre
        hours, hour = self._weeks.get(("clicks", ROOT), {}), start - start % 60 - _DAY
        # The most of three, since the hour in which a service began is not a whole one.
        return max(hours.get(near, [0.0])[0] for near in (hour - 60, hour, hour + 60))

    def _judged(self, series: _Series, most: float) -> Deviation:
        found = excursion(series.steps, series.spread, most)
        inside = series.steps.starts >= found.since
        clicks, hits = series.steps.clicks[inside].sum(), series.steps.hits[inside].sum()
        weights = series.steps.clicks[inside]
        centre = float(np.average(series.centre[inside], weights=weights)) if weights.sum() else 0.0
        observed = float(hits / clicks) if clicks else centre
        if series.metric == "low_ivr":
            observed, centre = 1 - observed, 1 - centre
        if series.metric == "clicks":
            observed, found = float(hits / max(np.count_nonzero(inside), 1)), found._replace(clicks=found.hits)
        return Deviation(
            series.metric, series.slice, series.against, observed, centre, found, most, found.clicks >= series.least
        )

    def _invalid(self, rows: Sequence[Row], expected: Expected) -> list[_Series]:
        """Return the series of the invalidation rate, of all clicks and by slice, both ways.

        An hour is held against the same one of earlier weeks, or without those against the bundle.
        """
        found = []
        known = [row for row in rows if row.slice in expected.ivr]
        for where, part in (*_by_slice(known).items(), (ROOT, known)):
            part = [row for row in part if self._usual(where, "ivr", row.start) is None]  # noqa: PLW2901 what is left
            counts = counted(part)
            centre = _mixed(part, expected.ivr, counts)
            margin = np.zeros_like(centre)
            if expected.hours is not None:
                centre, margin = by_hour(centre, counts.starts, expected.hours)
            found += self._both_ways(where, "bundle", counts, centre, margin)
        for where, part in (*_by_slice(rows).items(), (ROOT, list(rows))):
            counts, usual = self._held_against_weeks(where, "ivr", counted(part))
            if len(counts.starts):
                centre = np.array([one.centre for one in usual])
                found += self._both_ways(where, "weeks", counts, centre, np.array([3 * one.deviation for one in usual]))
        return found

    def _both_ways(self, where: str, against: str, counts: Counted, centre: Float64s, usual: Float64s) -> list[_Series]:
        """Return the series of a share that rises and of one that falls, where it lies within `usual` as a rule."""
        least = self._settings.least_change
        gap = np.maximum(self._settings.change * centre, least) / 2
        # However wild earlier weeks were: what is found of people has to be told.
        margin = np.minimum(np.maximum(gap, usual), _MOST_MARGIN * (1 - centre))
        judged, marked = counts.of("judged"), counts.of("marked")
        wide = self._spreads.get(("ivr", where), _SPREAD)
        needed = self._settings.least_clicks
        found = []
        if len(centre) and float(centre.max()) < 1:
            steps = Steps(
                counts.starts, judged, marked, centre + margin, np.minimum(centre + margin + gap, 1 - least / 9)
            )
            found.append(_Series("ivr", where, against, rising(steps), centre, wide, needed))
        low = np.maximum(centre - margin - gap, centre / 10)
        which = (centre >= least) & (usual <= gap)
        if which.any():
            steps = Steps(counts.starts, judged, judged - marked, 1 - (centre + low) / 2, 1 - low)
            found.append(_Series("low_ivr", where, against, chosen(steps, which), 1 - centre[which], wide, needed))
        return found

    def _unmeasurable(self, rows: Sequence[Row]) -> list[_Series]:
        counts = counted(rows)
        if not len(counts.starts):
            return []
        weeks = [self._usual(ROOT, "unmeasurable", int(start)) for start in counts.starts]
        centre = np.array([one.centre if one else 0.0 for one in weeks])
        deviation = np.array([one.deviation if one else 0.0 for one in weeks])
        gap = self._settings.least_unmeasurable / 2
        usual = centre + np.maximum(gap, 3 * deviation)
        steps = rising(Steps(counts.starts, counts.of("clicks"), counts.of("unmeasurable"), usual, usual + gap))
        wide = self._spreads.get(("unmeasurable", ROOT), _SPREAD)
        return [_Series("unmeasurable", ROOT, "weeks", steps, centre, wide, self._settings.least_clicks)]

    def _trusted(self, rows: Sequence[Row]) -> list[_Series]:
        counts = counted([row for row in rows if row.numbers[_PLACE["trusted"]]])
        if not len(counts.starts):
            return []
        least, centre = self._settings.least_trusted, np.full(len(counts.starts), self._budget)
        steps = Steps(
            counts.starts, counts.of("trusted"), counts.of("trusted_marked"), centre + least / 2, centre + least
        )
        needed = self._settings.least_purchases
        return [_Series("trusted", ROOT, "budget", rising(steps), centre, _PERSONS_SPREAD, needed)]

    def _false(self, rows: Sequence[Row], expected: Expected) -> list[_Series]:
        """Return the series of the false-positive rate: doubled, or up to what is material."""
        found = []
        for where, part in (*_by_slice(rows).items(), (ROOT, list(rows))):
            counts = counted(part)
            if not len(counts.starts):
                continue
            promised = self._budget if where == ROOT else max(self._budget, expected.fpr.get(where, 0.0))
            # A bundle that promises more than is material gets no more than that.
            usual = min(promised, max(_MATERIAL, self._budget))
            centre = np.full(len(counts.starts), usual)
            steps = rising(Steps(counts.starts, counts.of("bought"), counts.of("bought_marked"), centre, 2 * centre))
            needed = self._settings.least_purchases
            found.append(_Series("fpr", where, "budget", steps, centre, _PERSONS_SPREAD, needed))
        return found

    def _volume(self, minutes: tuple[Float64s, Float64s], expected: Expected) -> list[_Series]:
        """Return the series of the clicks a minute: by the hour of earlier weeks, or of the bundle's days before."""
        starts, clicks = minutes
        gaps = self._settings.volume_change / 2
        weeks, days = Usual(), Usual()
        for place, start in enumerate(starts.tolist()):
            week = self._usual(ROOT, "clicks", int(start))
            if week is not None:
                weeks.add(place, week.centre, max(gaps * week.centre, 3 * week.deviation), gaps * week.centre)
            elif expected.clicks is not None:
                centre, most = expected.clicks[int(start) // 60 % 24]
                days.add(place, centre, max(gaps * centre, most - centre), gaps * centre)
        wide, needed = self._spreads.get(("clicks", ROOT), MISSING_SPREAD), self._settings.least_clicks
        return [
            _Series("clicks", ROOT, against, steps, centre, wide, needed)
            for against, found in (("weeks", weeks), ("bundle", days))
            for steps, centre in found.steps(starts, clicks)
        ]

    def _scores(self, rows: Sequence[Row], expected: Expected, end: int) -> list[Deviation]:
        """Return how far the scores of the last hour are from those that the bundle saw, where it says."""
        counts = counted([row for row in rows if row.start >= end - 60])
        found = counts.columns[:, _PLACE["score_0"] : _PLACE["score_0"] + BINS].sum(0)
        clicks = int(found.sum())
        if expected.scores is None or clicks < self._settings.least_clicks:
            return []
        index = stability(expected.scores, found)
        wide = self._spreads.get(("ivr", ROOT), _SPREAD)
        chance = wide * stability_limit(clicks, BINS, self._settings.days_between_false_alarms * 1440)
        most = max(self._settings.most_score_change, chance)
        seen = Excursion(index, end - 60, clicks, 0, 1 if index > most else 0)
        return [Deviation("scores", ROOT, "bundle", index, most, seen, most, enough=True)]

    def _held_against_weeks(self, where: str, metric: str, counts: Counted) -> tuple[Counted, list[Baseline]]:
        """Return the minutes whose hour has earlier weeks, and what was usual in those."""
        hours = {int(start) // 60: self._usual(where, metric, int(start)) for start in counts.starts}
        usual = [hours[int(start) // 60] for start in counts.starts]
        which = np.array([one is not None for one in usual], np.bool_)
        return Counted(counts.starts[which], counts.columns[which]), [one for one in usual if one is not None]

    def _usual(self, where: str, metric: str, start: int) -> Baseline | None:
        hour = start - start % 60
        key = (where, metric, hour)
        if key not in self._baselines:
            shares = self._weeks.get((metric, where), {})
            earlier = [share for week in _WEEKS for share in shares.get(hour - week * _WEEK, [])]
            self._baselines[key] = baseline(earlier)
        return self._baselines[key]

    def _refresh(self, now: int) -> None:
        """Read the earlier weeks and the spreads anew, once an hour."""
        if self._hour == now // HOUR:
            return
        self._hour = now // HOUR
        end = self._hour * 60
        parts = {("hours", 36): self._state.rows("hours", 0), ("minutes", 7): self._state.rows("minutes", end - _WEEK)}
        self._weeks, self._spreads, self._baselines = defaultdict(dict), {}, {}
        for (table, _), rows in parts.items():
            for where, part in (*_by_slice(rows).items(), (ROOT, rows)):
                counts = counted([row for row in part if row.start < end])
                if where == ROOT:
                    self._refresh_volume(table, counts, end)
                for metric, among, hits in (("ivr", "judged", "marked"), ("unmeasurable", "clicks", "unmeasurable")):
                    if table == "minutes":
                        self._spreads[metric, where] = spread(counts.starts, counts.of(among), counts.of(hits), _SPREAD)
                        continue
                    for start, n, x in zip(counts.starts, counts.of(among), counts.of(hits), strict=True):
                        if n >= _FEWEST:
                            self._weeks[metric, where][int(start)] = [float(x / n)]

    def _refresh_volume(self, table: str, counts: Counted, end: int) -> None:
        clicks = counts.of("clicks")
        if table == "minutes":
            self._spreads["clicks", ROOT] = volume_spread(*every_minute(counts.starts, clicks, end))
            return
        for start, n in zip(counts.starts, clicks, strict=True):
            self._weeks["clicks", ROOT][int(start)] = [float(n / 60)]


def _by_slice(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.slice != ROOT:
            found[row.slice].append(row)
    return found


def _mixed(rows: Sequence[Row], shares: dict[str, float], counts: Counted) -> Float64s:
    """Return the share that is expected of each minute, given of which slices its clicks are."""
    place = np.searchsorted(counts.starts, [row.start for row in rows])
    judged = np.array([row.numbers[_PLACE["judged"]] for row in rows], np.float64)
    sums = np.bincount(place, judged * [shares[row.slice] for row in rows], len(counts.starts))
    return sums / np.maximum(np.bincount(place, judged, len(counts.starts)), 1)
