"""Evaluations for the report's tests: drawn from seeded scores, and judged by the real code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slidr.calibration.certificate import Certificate
from slidr.clock import DAY
from slidr.evaluation.change import compare
from slidr.evaluation.judging import (
    Judged,
    draw_curve,
    draw_slices,
    judge_network,
    judge_slices,
    judge_totals,
    notes_on,
    thresholds_of,
)
from slidr.evaluation.proxy import ProxyCheck
from slidr.evaluation.results import Assurance, DrawnCurve, Evaluation, KeptOut, Learning, ModelCard, Span
from slidr.evaluation.truth import Truth, missed
from slidr.labels.diagnostics import DayCount, HumanShare, LabelHealth, MissingClass, Overlap
from slidr.metrics import curve, threshold_at
from slidr.model.training import Curve
from slidr.slices import ROOT
from slidr.tables import Threshold, ThresholdSource

BUDGET = 0.005
LISTED, UNMEASURABLE = KeptOut(300, 2), KeptOut(40, 1)
"""What list rules and missing identifiers keep from the model."""
START = 1_772_409_600_000_000  # 2026-03-02 00:00 UTC, a Monday
FAMILIES = ("human", "botnet", "burst", "click_farm", "clockwork", "rotating_crawler")
NETWORKS = {"three_layer": 1.0, "logistic": 0.6, "velocity": 0.35}
"""The networks, and how well each tells robots from people."""
_SKILL = np.array([-2.2, -0.3, 4.0, 0.9, 3.0, 2.4])  # by family


def slice_paths(slices: int) -> tuple[str, ...]:
    """Return this many slices, two logins a device, largest device first."""
    devices = ["desktop", "mobile", "app", "tablet", *(f"device {number}" for number in range(slices))]
    pairs = [f"device={device}/logged_in={login}" for device in devices for login in ("true", "false")]
    return tuple(pairs[:slices])


def judged(*, clicks: int = 40_000, slices: int = 6, seed: int = 1, truth: bool = True) -> Judged:
    """Return a judging part whose slices shrink geometrically and whose robots are of five families."""
    generator = np.random.default_rng(seed)
    family = generator.choice(6, clicks, p=[0.715, 0.08, 0.06, 0.04, 0.045, 0.06]).astype(np.int32)
    sizes = 0.93 ** np.arange(slices) if slices > 10 else 0.6 ** np.arange(slices)
    where = generator.choice(slices, clicks, p=sizes / sizes.sum()).astype(np.int32)
    purchased = (family == 0) & (generator.random(clicks) < 0.045)
    hidden = _SKILL[family] + 0.15 * np.sin(where) + generator.normal(0, 0.9, clicks)
    hidden[purchased] -= 0.4
    scores: dict[str, NDArray[np.float32]] = {}
    for name, skill in NETWORKS.items():
        noisy = skill * hidden + generator.normal(0, 1.2 * (1 - skill) + 1e-9, clicks)
        scores[name] = (1 / (1 + np.exp(-noisy))).astype(np.float32)
    busy = np.isin(family, (2, 4)) & (generator.random(clicks) < 0.5)
    own = np.arange(clicks)
    purchaser = np.where(purchased, own, -1)
    known = Truth(family, FAMILIES) if truth else None
    return Judged(scores, purchased, purchaser, own, busy, where, slice_paths(slices), known)


def _one(name: str, sample: Judged, budget: float) -> Threshold:
    limit = threshold_at(curve(sample.scores[name], sample.purchased), budget)
    clicks, purchases = len(sample.purchased), int(sample.purchased.sum())
    return Threshold(ROOT, limit, 0.0, budget, None, clicks, purchases, ThresholdSource.OWN)


def thresholds(sample: Judged, *, least: int = 50) -> tuple[Threshold, ...]:
    """Return a threshold of its own for each slice with enough purchases, and one for all."""
    found = [_one("three_layer", sample, BUDGET)]
    for code, path in enumerate(sample.paths):
        mine = sample.slices == code
        purchases = int(sample.purchased[mine].sum())
        if purchases >= least:
            limit = threshold_at(curve(sample.scores["three_layer"][mine], sample.purchased[mine]), BUDGET)
            found.append(Threshold(path, limit, 0.0, BUDGET, None, int(mine.sum()), purchases, ThresholdSource.OWN))
    return tuple(found)


def density(seed: int = 3) -> list[list[float | None]]:
    """Return a human density with a daily rhythm, three hours without purchases and one without clicks."""
    generator = np.random.default_rng(seed)
    hours = np.arange(24)
    daily = 0.06 + 0.05 * np.clip(np.sin((hours - 7) / 24 * 2 * np.pi), -0.8, 1)
    table: list[list[float | None]] = (daily * generator.uniform(0.9, 1.1, (7, 24))).tolist()
    table[3][10:13] = [0.0, 0.0, 0.0]
    table[6][3] = None
    return table


def health() -> LabelHealth:
    """Return the health of labels with a day without purchases and hours without human labels."""
    days = tuple(DayCount(f"2026-03-{day:02}", 40_000, 1800, 0 if day == 5 else 1500) for day in range(2, 9))
    return LabelHealth(
        clicks=280_000,
        mature=280_000,
        human=12_600,
        purchases=9_000,
        purchasers=7_900,
        density=tuple(map(tuple, density())),
        timezone="Europe/Berlin",
        days=days,
        missing=(MissingClass("2026-03-05", "purchase", 40_000),),
        overlap=(Overlap("purchase", "rfm", 9_000, 4_000, 400, 129.0),),
        human_share=HumanShare(0.71, 0.68, 0.74, 0.69, 0.8, 1_900),
    )


def learning() -> tuple[Learning, ...]:
    """Return learning curves of two networks, one of them in trees, and one of a network that does not learn."""
    seen = tuple(range(1000, 41_000, 1000))
    fall = tuple(0.3 + 0.4 / (1 + step / 5000) for step in seen)
    return (
        Learning("three_layer", Curve("clicks", seen, fall, tuple(loss + 0.01 for loss in fall)), ("clicks_ip_1m",)),
        Learning("lightgbm", Curve("trees", (1, 2, 3), (0.7, 0.6, 0.5))),
        Learning("velocity", Curve()),
    )


CERTIFICATE = Certificate(BUDGET, 0.05, 5_000, 16, 16, 3.2)
CARD = ModelCard(
    (("network", "three_layer (256 x 128 x 64): 2 features in, 184 kB"), ("seed", "1")),
    ("clicks_user_24h", "logged_in"),
    ("Deciding clicks.",),
    ("It knows buyers alone.",),
)


def evaluation(
    *, clicks: int = 40_000, slices: int = 6, truth: bool = True, title: str = "Simulated log"
) -> Evaluation:
    """Return an evaluation as the daily flow makes it: thresholds set on one draw, judged on another."""
    before = judged(clicks=clicks, slices=slices, seed=1)
    sample = judged(clicks=clicks, slices=slices, seed=2, truth=truth)
    chosen = thresholds(before)
    results = [judge_network("three_layer", sample, chosen, calibration="slices", budget=BUDGET)]
    for name in NETWORKS:
        one = (_one(name, before, BUDGET),)
        results.append(judge_network(name, sample, one, calibration="one threshold", budget=BUDGET))
    marked = sample.scores["three_layer"] > thresholds_of(sample.slices, sample.paths, chosen)
    found = judge_slices(sample.scores["three_layer"], sample, chosen)
    purchases = int(sample.purchased.sum())
    caught, before_marked = results[0].caught_at_budget, sample.scores["three_layer"] > np.float32(chosen[0].threshold)
    return Evaluation(
        title=title,
        budget=BUDGET,
        train=Span(START, START + 7 * DAY, 7 * clicks, 7 * purchases),
        calibrate=Span(START + 7 * DAY, START + 8 * DAY, clicks, int(before.purchased.sum())),
        judge=Span(START + 8 * DAY, START + 9 * DAY, clicks + 340, purchases + 3),
        networks=tuple(results),
        totals=judge_totals(sample.scores["three_layer"], sample, chosen, listed=LISTED, unmeasurable=UNMEASURABLE),
        slices=found,
        curves=_curves(sample, marked),
        slice_curves=draw_slices(sample.scores["three_layer"], sample, chosen),
        timezone="Europe/Berlin",
        notes=notes_on(sample, found, budget=BUDGET, calibrated_on=2_000),
        health=health(),
        proxy=ProxyCheck(0.005, 0.0121, 2.42, warning=True, purchases=purchases, marked_purchases=7, strata=31),
        change=compare("0a1b2c3d4e5f6071", before_marked, marked, sample.purchased, sample.slices, sample.paths),
        assurance=Assurance("neyman_pearson", CERTIFICATE, 598, 5_000, 0.05),
        learning=learning(),
        missed=missed(caught) if caught else (),
        card=CARD,
    )


def _curves(sample: Judged, marked: NDArray[np.bool_]) -> tuple[DrawnCurve, ...]:
    points = {"three_layer": marked}
    drawn = [draw_curve(name, sample.scores[name], sample.purchased, points.get(name)) for name in NETWORKS]
    return tuple(found for found in drawn if found is not None)


def bare() -> Evaluation:
    """Return an evaluation of a part without a single purchase: nothing but IVR can be measured."""
    sample = judged(clicks=500, truth=False)
    none = np.zeros(500, np.bool_)
    unsold = replace(sample, purchased=none, purchaser=np.full(500, -1), busy=none)
    chosen = (_one("three_layer", sample, BUDGET),)
    found = judge_slices(unsold.scores["three_layer"], unsold, chosen)
    nothing = Span(START, START, 0, 0)
    return Evaluation(
        title="No purchases",
        budget=BUDGET,
        train=nothing,
        calibrate=nothing,
        judge=Span(START, START + DAY, 500, 0),
        networks=(judge_network("three_layer", unsold, chosen, calibration="slices", budget=BUDGET),),
        totals=judge_totals(
            unsold.scores["three_layer"], unsold, chosen, listed=KeptOut(0, 0), unmeasurable=KeptOut(0, 0)
        ),
        slices=found,
        curves=(),
        slice_curves=(),
        timezone="UTC",
        notes=notes_on(unsold, found, budget=BUDGET, calibrated_on=0),
    )
