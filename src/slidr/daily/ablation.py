"""Ablation: what each part of the method is worth, by leaving it out and learning again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from slidr import extensions
from slidr.calibration.level import u_of
from slidr.daily.parts import Part, read_part, sample_of
from slidr.daily.plan import Run
from slidr.daily.stamps import require
from slidr.daily.training import training_set
from slidr.evaluation.truth import Truth, catch, catch_at_true_fpr, level_at, read_truth, sparse_hours
from slidr.metrics import Float64s
from slidr.model.scorer import Scorer

WHOLE = "nothing left out"
WEIGHTS = "sample weights"


class Variation(NamedTuple):
    """What is left out.

    Attributes:
        name: in words.
        weighted: whether clicks weigh by their bucket.
        without: kind of the features that are left out, such as Velocity; empty for none.
        purchases_only: whether RFM labels are left out.
        one_threshold: whether the slices are left out.
    """

    name: str
    weighted: bool = True
    without: str = ""
    purchases_only: bool = False
    one_threshold: bool = False


class Ablated(msgspec.Struct, frozen=True):
    """What a variation does on the judging part.

    Attributes:
        variation: what was left out.
        features: how many features were left.
        ivr: share of clicks marked where the judging part's own FPR meets the budget: comparable, and known only
            afterwards.
        sparse_ivr: the same within the six hours of the day with the fewest clicks, at the same budget within them.
        recall: simulation only, share of robots' clicks marked where as large a share of people's clicks is marked as
            the budget: at equal true FPR.
        sparse_recall: simulation only, the same within the sparse hours, at an equal true FPR within them.
        true_fpr: simulation only, share of people's clicks marked at `ivr`.
    """

    variation: str
    features: int
    ivr: float
    sparse_ivr: float | None
    recall: float | None
    sparse_recall: float | None
    true_fpr: float | None


def variations(run: Run) -> Iterator[Variation]:
    """Yield the variations that a run's settings allow, the whole first."""
    yield Variation(WHOLE)
    yield Variation(WEIGHTS, weighted=False)
    if run.settings.slices.columns:
        yield Variation("slices", one_threshold=True)
    if run.settings.labels.rfm:
        yield Variation("RFM labels", purchases_only=True)
    for kind in dict.fromkeys(type(feature).__name__ for feature in run.catalogue):
        yield Variation(f"{kind} features", without=kind)


def ablate(run: Run, truth: pa.Table | None = None, chosen: Sequence[Variation] | None = None) -> Iterator[Ablated]:
    """Learn again without each part, and yield what that does on the judging part.

    Args:
        run: the run, labelled and backfilled.
        truth: simulation only: the truth of the judged clicks.
        chosen: what to leave out; all that the settings allow where None.

    Raises:
        SettingsError: a stage was not done for this run.
        LabelError: the truth is that of another log.
    """
    require(run, "label", "backfill")
    parts = [read_part(run, span) for span in (run.split.train, run.split.calibrate, run.split.judge)]
    known = None if truth is None else read_truth(truth, parts[2].clicks["click_id"].to_pylist())
    chosen = list(variations(run)) if chosen is None else chosen
    graphs: dict[tuple[bool, str, bool], bytes] = {}
    for number, variation in enumerate(chosen):
        run.progress("ablate", number / len(chosen))
        kept = tuple(feature.name for feature in run.catalogue if type(feature).__name__ != variation.without)
        # The same network serves with slices and without.
        learnt = (variation.weighted, variation.without, variation.purchases_only)
        if learnt not in graphs:
            graphs[learnt] = _learn(run, parts[0], variation, kept)
        u = _u(run, parts[1], parts[2], graphs[learnt], kept, variation)
        yield _judged(run, parts[2], u, known, variation.name, len(kept))
    run.progress("ablate", 1)


def _learn(run: Run, part: Part, variation: Variation, kept: tuple[str, ...]) -> bytes:
    settings = run.settings.model
    human = part.purchased if variation.purchases_only else None
    training = training_set(run, part, weighted=variation.weighted, human=human, features=kept)
    network = extensions.load("slidr.model.networks", settings.network)
    graph: bytes = network.fit(training, settings, np.random.default_rng(settings.seed)).graph
    return graph


def _u(run: Run, calibrate: Part, judge: Part, graph: bytes, kept: tuple[str, ...], variation: Variation) -> Float64s:
    """Return what orders the judging part's clicks: the calibration's number, or the score alone."""
    names = [feature.name for feature in run.catalogue]
    columns = [names.index(name) for name in kept]
    scorer = Scorer(graph)
    before, after = (scorer.score(np.ascontiguousarray(part.rows[:, columns])) for part in (calibrate, judge))
    if variation.one_threshold:
        return after.astype(np.float64)
    settings = run.settings.calibration
    method = extensions.load("slidr.calibration.methods", settings.method)
    return u_of(method.fit(sample_of(run, calibrate, before), settings), sample_of(run, judge, after))


def _judged(run: Run, part: Part, u: Float64s, truth: Truth | None, name: str, features: int) -> Ablated:
    budget = run.settings.calibration.fpr_budget
    sparse = sparse_hours(part.times, run.settings.timezone)
    marked = u > level_at(u, part.purchased, budget)
    night = None
    if (part.purchased & sparse).any():
        night = float((u[sparse] > level_at(u[sparse], part.purchased[sparse], budget)).mean())
    whole = caught = dark = None
    if truth is not None:
        whole, caught = catch_at_true_fpr(u, truth, budget), catch(marked, truth)
        dark = catch_at_true_fpr(u[sparse], truth.among(sparse), budget)
    return Ablated(
        name,
        features,
        float(marked.mean()),
        night,
        whole.recall if whole else None,
        dark.recall if dark else None,
        caught.true_fpr if caught else None,
    )
