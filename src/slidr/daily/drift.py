"""Drift: the features of the judged part held against those that the champion learnt from."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.bundle import Bundle
from slidr.daily.plan import Run
from slidr.evaluation.expectation import Expectation, Histogram, histogram, stability
from slidr.features.catalogue import TimeOfClick
from slidr.guardrails.seen import Drift
from slidr.tables import FEATURES

_SAMPLE = 200_000
"""Rows of a part that are looked at, evenly spread."""


def drift_of(run: Run, champion: Bundle | None) -> Drift:
    """Return how far each feature of the judged part is from the champion's training, or from the run's own."""
    expected = expectation_of(champion)
    if champion is not None and expected is not None:
        against, before = f"the champion {champion.id}", expected.features
    else:
        against, before = "this run's own training part", feature_histograms(run)
    now = _values(run, run.split.judge)
    return Drift(against, {name: stability(before[name], now[name]) for name in now if name in before})


def feature_histograms(run: Run) -> dict[str, Histogram]:
    """Return how each feature spreads over the training part."""
    return {name: histogram(values) for name, values in _values(run, run.split.train).items()}


def expectation_of(bundle: Bundle | None) -> Expectation | None:
    """Return what a bundle expects; None where it was published without guardrails, or by an older slidr."""
    written = None if bundle is None else bundle.metrics.get("expected")
    return None if written is None else msgspec.convert(written, Expectation)


def _values(run: Run, span: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
    """Return the values of each feature of some clicks of a span.

    The time of the click is left out: the day of the week of one day is never that of a week.
    """
    names = [feature.name for feature in run.catalogue if not isinstance(feature, TimeOfClick)]
    rows = sum(content.rows for content in run.lake.contents(FEATURES).values())
    days = max(len(run.lake.days(FEATURES)), 1)
    length = max((span[1] - span[0]) / 86_400e6, 1.0)
    stride = max(int(rows / days * length) // _SAMPLE, 1)
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for part in run.lake.batches(FEATURES, start=span[0], end=span[1], columns=names):
        for name in names:
            parts[name].append(part[name].to_numpy()[::stride])
    return {name: np.concatenate(found) for name, found in parts.items() if found}
