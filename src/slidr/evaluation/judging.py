"""Judging: what thresholds set on one day do on a later day, per slice, per network and, in simulation, in truth.

Nothing here decides or learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidr import metrics
from slidr.calibration.ranking import nearest_thresholds
from slidr.evaluation.by_slice import rows_by_slice
from slidr.evaluation.intervals import clustered_interval
from slidr.evaluation.results import (
    DrawnCurve,
    Interval,
    KeptOut,
    NetworkResult,
    SliceResult,
    Totals,
)
from slidr.evaluation.truth import Truth, catch, catch_at_true_fpr
from slidr.metrics import Bools, Float32s, Int64s
from slidr.slices import ROOT, ancestors
from slidr.tables import Threshold, ThresholdSource

DRAWN = 12
"""Most slices whose curves are drawn; a table holds the others."""
_POINTS = 400
"""Most points of a drawn curve."""
_NAMED = 6
_FEW = 30
"""Purchasing clicks below which a share of them says little."""


@dataclass(frozen=True)
class Judged:
    """The judging day: one entry a click that reached the model.

    Attributes:
        scores: by network, float32[n].
        purchased: the click led to a purchase, bool[n].
        purchaser: number of who bought, -1 where nobody did, int64[n]; clicks of one buyer are not independent.
        clicker: number of whom the click is of, int64[n]; nor are those of one user, session or ip.
        busy: the click stands in a busy session, bool[n].
        slices: code of the click's deepest slice, int32[n].
        paths: the slices, by code.
        truth: simulation only: who made the clicks.
    """

    scores: Mapping[str, Float32s]
    purchased: Bools
    purchaser: Int64s
    clicker: Int64s
    busy: Bools
    slices: NDArray[np.int32]
    paths: tuple[str, ...]
    truth: Truth | None = None


def interval(marked: Bools, among: Bools, clusters: Int64s) -> Interval:
    """Return the share of clicks marked among some, with its interval; clicks of one cluster are not independent."""
    if not among.any():
        return Interval(None, None, None)
    return Interval(float(marked[among].mean()), *clustered_interval(marked[among], clusters[among]))


def thresholds_of(slices: NDArray[np.int32], paths: Sequence[str], thresholds: Sequence[Threshold]) -> Float32s:
    """Return each click's threshold: that of its nearest calibrated ancestor, as the service takes it."""
    return nearest_thresholds(thresholds, paths)[slices]


def judge_network(
    network: str, judged: Judged, thresholds: Sequence[Threshold], *, calibration: str, budget: float
) -> NetworkResult:
    """Return what a network and its thresholds did on the judging day."""
    scores = judged.scores[network]
    marked = scores > thresholds_of(judged.slices, judged.paths, thresholds)
    at_budget = None
    if judged.purchased.any():
        limit = metrics.threshold_at(metrics.curve(scores, judged.purchased), budget)
        at_budget = metrics.ivr(scores > np.float32(limit))
    truth = judged.truth
    return NetworkResult(
        network,
        calibration,
        *_shares(judged, marked, np.arange(len(marked))),
        at_budget,
        None if truth is None else catch(marked, truth),
        None if truth is None or truth.robot.all() else catch_at_true_fpr(scores, truth, budget),
    )


def _shares(judged: Judged, marked: Bools, rows: Int64s) -> tuple[Interval, Interval, Interval]:
    """Return IVR, FPR and coverage over some of the clicks."""
    mine, clicker = marked[rows], judged.clicker[rows]
    return (
        interval(mine, np.ones(len(rows), np.bool_), clicker),
        interval(mine, judged.purchased[rows], judged.purchaser[rows]),
        interval(mine, judged.busy[rows], clicker),
    )


def judge_totals(
    scores: Float32s,
    judged: Judged,
    thresholds: Sequence[Threshold],
    *,
    listed: KeptOut,
    unmeasurable: KeptOut,
) -> Totals:
    """Return what list rules and the deciding network did together, over all clicks of the judging part.

    Args:
        scores: those of the deciding network, float32[n].
        judged: the clicks that reached it.
        thresholds: its thresholds.
        listed: the clicks that list rules invalidated before it.
        unmeasurable: the clicks without an identifier, which nothing invalidates.
    """
    marked = scores > thresholds_of(judged.slices, judged.paths, thresholds)
    clicks = len(scores) + listed.clicks + unmeasurable.clicks
    purchases = int(judged.purchased.sum()) + listed.purchases + unmeasurable.purchases
    # Who bought after clicks that never reached the model is not known here: each counts as somebody else.
    beside = listed.purchases + unmeasurable.purchases
    hit = np.append(marked[judged.purchased], np.arange(beside) < listed.purchases)
    buyers = np.append(judged.purchaser[judged.purchased], judged.purchaser.max(initial=-1) + 1 + np.arange(beside))
    return Totals(
        clicks,
        purchases,
        *listed,
        *unmeasurable,
        ivr=(int(marked.sum()) + listed.clicks) / clicks if clicks else 0.0,
        fpr=interval(hit, np.ones(purchases, np.bool_), buyers),
    )


def judge_slices(scores: Float32s, judged: Judged, thresholds: Sequence[Threshold]) -> tuple[SliceResult, ...]:
    """Return what every slice's threshold did on the judging day; the root stands for all clicks together."""
    by_name = {threshold.slice: threshold for threshold in thresholds}
    marked = scores > thresholds_of(judged.slices, judged.paths, thresholds)
    everything = {ROOT: np.arange(len(scores))} if len(scores) else {}
    results = []
    for name, rows in {**dict(rows_by_slice(judged.slices, judged.paths)), **everything}.items():
        above = next(by_name[path] for path in ancestors(name) if path in by_name)
        results.append(
            SliceResult(
                name,
                above.threshold,
                above.source if above.slice == name else _borrowed(above.slice),
                len(rows),
                int(judged.purchased[rows].sum()),
                *_shares(judged, marked, rows),
                *_truly(judged.truth, marked, rows),
            )
        )
    return tuple(sorted(results, key=lambda result: (result.slice != ROOT, result.slice)))


def _truly(truth: Truth | None, marked: Bools, rows: Int64s) -> tuple[float | None, float | None]:
    """Return recall and true FPR over some clicks, None where the truth is not known."""
    if truth is None:
        return None, None
    caught = catch(marked[rows], truth.among(rows))
    return caught.recall, caught.true_fpr


def _borrowed(owner: str) -> ThresholdSource:
    return ThresholdSource.GLOBAL if owner == ROOT else ThresholdSource.PARENT


def draw_curve(name: str, scores: Float32s, purchased: Bools, marked: Bools | None = None) -> DrawnCurve | None:
    """Return a curve thinned for drawing, or None where no click led to a purchase."""
    if not purchased.any():
        return None
    curve = metrics.curve(scores, purchased)
    # More points where the curve bends: near zero FPR.
    places = np.unique(np.searchsorted(curve.fpr, np.linspace(0, 1, _POINTS) ** 2).clip(0, len(curve.fpr) - 1))
    point = None
    if marked is not None:
        point = (metrics.fpr(marked, purchased) or 0.0, metrics.ivr(marked))
    return DrawnCurve(name, curve.fpr[places].tolist(), curve.ivr[places].tolist(), point)


def draw_slices(scores: Float32s, judged: Judged, thresholds: Sequence[Threshold]) -> tuple[DrawnCurve, ...]:
    """Return the curves of the largest slices that can be drawn, the largest first."""
    marked = scores > thresholds_of(judged.slices, judged.paths, thresholds)
    drawn: list[DrawnCurve] = []
    for name, rows in sorted(rows_by_slice(judged.slices, judged.paths), key=lambda found: -len(found[1])):
        curve = draw_curve(name, scores[rows], judged.purchased[rows], marked[rows])
        drawn += [curve] if curve else []
        if len(drawn) == DRAWN:
            break
    return tuple(drawn)


def notes_on(judged: Judged, slices: Sequence[SliceResult], *, budget: float, calibrated_on: int) -> tuple[str, ...]:
    """Return what a reader must know before trusting the numbers, in sentences.

    Args:
        judged: the judging part.
        slices: what `judge_slices` returned.
        budget: share of purchasing clicks that may be marked.
        calibrated_on: purchasing clicks of the calibration part.
    """
    purchases = int(judged.purchased.sum())
    notes = []
    if budget * calibrated_on < 1:
        notes.append(
            f"The calibration part has {calibrated_on} purchasing clicks, and {100 * budget:.4g} % of them is less than"
            " one: the threshold lies at the highest score of a single purchase. Another day, or another seed, may move"
            " IVR by its own size."
        )
    needed = int(np.ceil(np.log(0.05) / np.log1p(-budget)))
    if purchases < needed:
        notes.append(
            f"The judging part has {purchases} purchasing clicks. Even if none of them were marked, fewer than {needed}"
            f" cannot show an FPR below {100 * budget:.4g} % with 95 % confidence: read the intervals, not the points."
        )
    borrowed = [result.slice for result in slices if result.source != ThresholdSource.OWN and result.slice != ROOT]
    if borrowed:
        names = ", ".join(borrowed[:_NAMED]) + (" and others" if len(borrowed) > _NAMED else "")
        notes.append(
            f"{len(borrowed)} {'slice' if len(borrowed) == 1 else 'slices'} had too few purchases for a threshold of"
            f" their own and borrowed one: {names}."
        )
    proper = [result for result in slices if result.slice != ROOT]
    few = sum(result.purchases < _FEW for result in proper)
    if few:
        notes.append(f"In {few} of {len(proper)} slices fewer than {_FEW} purchasing clicks stand behind the FPR.")
    if judged.truth is None:
        notes.append("The truth is not known here: IVR, FPR and coverage are what a log can tell, not accuracy.")
    return tuple(notes)
