"""Robot families whose signal is known: a network that has learnt them gives that signal as its reason."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests import small

from slidr.features.backfill import backfill, feature_rows
from slidr.features.keys import Pseudonymiser
from slidr.model.networks import three_layer
from slidr.model.reference import reference_of
from slidr.model.scorer import Scorer
from slidr.model.training import TrainingSet
from slidr.reasons.attribution import Attribution
from slidr.reasons.wording import grouped
from slidr.settings import parse_settings
from slidr.simulate.days import simulate
from slidr.simulate.plan import Plan

NAMES = tuple(feature.name for feature in small.CATALOGUE)


@pytest.fixture(scope="module")
def log() -> tuple[pa.Table, pa.Table]:
    """A small simulated log, and the truth about it."""
    days = list(simulate(Plan(clicks=36_000), np.random.default_rng(3)))
    return pa.concat_tables([day.clicks for day in days]), pa.concat_tables([day.truth for day in days])


@pytest.mark.parametrize(
    ("family", "signal"), [("clockwork", "click_rhythm"), ("burst", "click_rate"), ("rotating_crawler", "sessions")]
)
def test_what_gives_a_family_away_is_the_reason(log: tuple[pa.Table, pa.Table], family: str, signal: str) -> None:
    """Its signal, over all entities, contributes the most to the clicks of a family, and is among the first reasons."""
    clicks, truth = log
    kept = pc.is_in(truth["family"], pa.array(["human", family]))
    robot = truth["robot"].filter(kept).to_numpy()
    rows = feature_rows(backfill(clicks.filter(kept), small.CATALOGUE, Pseudonymiser(small.SECRET)), NAMES)
    settings = parse_settings({"model": {"widths": [16]}}).model
    training = TrainingSet(rows, ~robot, np.ones(len(rows), np.float32), NAMES)
    scorer = Scorer(three_layer.fit(training, settings, np.random.default_rng(1)).graph)
    attribution = Attribution(scorer, grouped(small.CATALOGUE), reference_of(rows, ~robot, NAMES).row(NAMES))
    caught = np.flatnonzero(robot & (scorer.score(rows) > 0.9))
    total: Counter[str] = Counter()
    among_first = 0
    chosen = np.random.default_rng(0).choice(caught, 40, replace=False)
    for row in rows[chosen]:
        found = attribution.contributions(row)
        for one in found:
            total[next((kind for kind in KINDS if one.group.endswith(kind)), one.group)] += one.log_odds  # type: ignore[assignment]
        among_first += any(one.group.endswith(signal) for one in found[:3])
    assert total.most_common(1)[0][0] == signal
    assert among_first >= 36


KINDS = ("click_rate", "click_burst", "click_gaps", "click_rhythm", "sessions", "users", "ips")
