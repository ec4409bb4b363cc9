"""Expectation: what a bundle saw of its own days, against which later days and later bundles are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR
from slidr.evaluation.by_slice import rows_by_slice
from slidr.metrics import Bools, Float32s, Int64s
from slidr.slices import ROOT

_BINS = 10
_LEAST_SHARE = 1e-4
"""What an empty bin counts as: its logarithm must be finite."""
_PRIOR_CLICKS = 200.0
"""Clicks of an hour that weigh as much as all clicks do: of a few clicks an hour tells nothing of its own."""
_SCORE_EDGES = tuple(place / 20 for place in range(1, 20))


class Histogram(msgspec.Struct, frozen=True):
    """Shares of values between edges: up to and with the first, above it up to the second, ..., above the last."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]


class Golden(msgspec.Struct, frozen=True):
    """Clicks of one span of which a bundle is sure: buyers that it left unmarked, and busy sessions that it marked.

    Attributes:
        start: first instant of the span, microseconds UTC.
        end: instant after the last.
        humans: click_ids of purchasing clicks, one a buyer, those of the lowest scores.
        robots: click_ids of marked clicks in busy sessions in which nobody bought, those farthest above the threshold.
    """

    start: int
    end: int
    humans: tuple[str, ...] = ()
    robots: tuple[str, ...] = ()


class Volume(msgspec.Struct, frozen=True):
    """Clicks a minute in one hour of the day: their median over some days, and the most."""

    centre: float
    most: float


class Expectation(msgspec.Struct, frozen=True):
    """What a bundle saw: its features while it learnt, its scores by slice on the judging day, and its golden clicks.

    Attributes:
        features: by name, over the training part.
        scores: by slice, `all` among them, over the clicks of the judging part that reached the model.
        golden: of the judging part.
        clicks: by UTC hour of the day, over all parts; empty where they are too short to tell.
        hours: by UTC hour of the day, how much larger the log-odds are that a click is found invalid than over all
            hours, over the calibration and the judging part.
    """

    features: dict[str, Histogram]
    scores: dict[str, Histogram]
    golden: Golden
    clicks: tuple[Volume, ...] = ()
    hours: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Marks:
    """Clicks as they were decided, one entry a click.

    Attributes:
        scores: float32[n].
        thresholds: float32[n].
        purchaser: number of who bought after the click, -1 where nobody did, int64[n].
        busy: the click stands in a busy session, bool[n].
        sessions: number of its session, -1 where it has none, int64[n].
    """

    scores: Float32s
    thresholds: Float32s
    purchaser: Int64s
    busy: Bools
    sessions: Int64s


def histogram(values: NDArray[np.floating], edges: Sequence[float] | None = None) -> Histogram:
    """Return the shares of values, float[n] with n > 0, between edges; between their own deciles where None.

    >>> histogram(np.float32([0, 0, 0, 1]), (0.5,))
    Histogram(edges=(0.5,), shares=(0.75, 0.25))
    """
    if edges is None:
        deciles = np.quantile(values, np.arange(1, _BINS) / _BINS, method="lower")
        edges = tuple(np.unique(deciles).astype(np.float64).tolist())
    return Histogram(tuple(edges), tuple(_shares(values, edges).tolist()))


def stability(expected: Histogram, values: NDArray[np.floating]) -> float:
    """Return the population stability index of values against a histogram: 0 where they are alike.

    It is the sum of (q - p) ln(q / p) over the bins; 0.1 is usually called a small shift, and 0.25 a large one.

    >>> before = histogram(np.arange(100.0))
    >>> stability(before, np.arange(100.0)), round(stability(before, np.arange(50.0)), 2)
    (0.0, 3.8)

    Source: Siddiqi, "Credit Risk Scorecards", 2006; the index is the symmetric Kullback-Leibler divergence.
    """
    before = np.maximum(np.array(expected.shares), _LEAST_SHARE)
    now = np.maximum(_shares(values, expected.edges), _LEAST_SHARE)
    return float(((now - before) * np.log(now / before)).sum())


def _shares(values: NDArray[np.floating], edges: Sequence[float]) -> NDArray[np.float64]:
    places = np.searchsorted(np.asarray(edges, np.float64), values.astype(np.float64), side="left")
    shares: NDArray[np.float64] = np.bincount(places, minlength=len(edges) + 1) / max(len(values), 1)
    return shares


def expected_scores(scores: Float32s, slices: NDArray[np.int32], paths: Sequence[str]) -> dict[str, Histogram]:
    """Return how scores spread over twenty equal bins, overall and in each slice with clicks."""
    found = {ROOT: histogram(scores, _SCORE_EDGES)}
    for path, rows in rows_by_slice(slices, paths):
        found[path] = histogram(scores[rows], _SCORE_EDGES)
    return found


def expected_clicks(hours: Int64s, first: int) -> tuple[Volume, ...]:
    """Return what is usual of each hour of the day; nothing where one was not there twice.

    >>> expected_clicks(np.tile([60, 120], 24), 23)[:2]
    (Volume(centre=2.0, most=2.0), Volume(centre=1.0, most=1.0))
    >>> expected_clicks(np.zeros(0, np.int64), 23)
    ()

    Args:
        hours: clicks of successive UTC hours, int64[n].
        first: hour of the day of the first.
    """
    found = [hours[(place - first) % 24 :: 24] / 60 for place in range(24)]
    if min(map(len, found)) < 2:  # noqa: PLR2004 one day says nothing of another
        return ()
    return tuple(Volume(float(np.median(one)), float(one.max())) for one in found)


def expected_hours(times: Int64s, marked: Bools) -> tuple[float, ...]:
    """Return how the log-odds that a click is found invalid in an hour of the day differ from those of all clicks.

    People sleep and robots do not, so that the same bundle finds twice as large a share invalid at night as by day. A
    difference of log-odds holds for a slice whose share is another one, where a difference of shares would not.

    >>> night = np.arange(24_000) % 24 < 2
    >>> found = expected_hours(np.arange(24_000) * 3_600_000_000, night)
    >>> round(found[0], 1), round(found[2], 1)
    (4.1, -1.9)

    Args:
        times: microseconds UTC, int64[n].
        marked: found invalid, bool[n].
    """
    hours = times // HOUR % 24
    clicks, hits = np.bincount(hours, minlength=24), np.bincount(hours, marked, 24)
    # Half a click more of either keeps the logarithms finite.
    share = (hits.sum() + 0.5) / (clicks.sum() + 1)
    shares = (hits + _PRIOR_CLICKS * share) / (clicks + _PRIOR_CLICKS)
    differences = np.log(shares / (1 - shares)) - np.log(share / (1 - share))
    return tuple(differences.round(6).tolist())


def golden_clicks(click_ids: Sequence[str], marks: Marks, span: tuple[int, int], most: int) -> Golden:
    """Return the clicks of which the decisions are surest.

    Nothing but purchases and the pace of sessions is asked: no simulation, no list, no person.

    Args:
        click_ids: of the clicks, in their order.
        marks: how they were decided.
        span: the part of the log that they are of.
        most: how many of each kind.
    """
    margin = marks.scores.astype(np.float64) - marks.thresholds
    marked, bought = margin > 0, marks.purchaser >= 0
    order = np.argsort(marks.scores, kind="stable")
    order = order[bought[order] & ~marked[order]]
    _, first = np.unique(marks.purchaser[order], return_index=True)
    humans = order[np.sort(first)][:most]
    spent = np.isin(marks.sessions, marks.sessions[bought & (marks.sessions >= 0)])
    sure = np.flatnonzero(marked & marks.busy & ~spent & ~bought)
    robots = sure[np.argsort(-margin[sure], kind="stable")][:most]
    ids = [tuple(click_ids[place] for place in places.tolist()) for places in (humans, robots)]
    return Golden(*span, *ids)
