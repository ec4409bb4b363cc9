"""Reasons: why a click was decided as it was, in stable codes and in words with the measured values.

They are made on look-up, from what the journal kept and the bundle that decided: contributions of a click cost as much
as deciding some hundreds (docs/reasons.md has the figures), and belong on another thread than the one that decides.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from slidr.bundle import Bundle
from slidr.errors import BundleError
from slidr.features.catalogue import Clicks, Velocity
from slidr.features.layout import HORIZON, compile_catalogue
from slidr.journal.records import Context, Entry
from slidr.metrics import Float32s
from slidr.model.scorer import Scorer
from slidr.reasons.attribution import Attribution, Contribution
from slidr.reasons.wording import Moment, grouped, worded
from slidr.tables import Verdict

MODEL = "model"
MOST = 5
"""Contributions that a decision is explained by, at most."""
_LEAST = 0.1
UNMEASURABLE = {
    "no_identifiers": "the click has neither user nor session nor ip, so nothing can be measured of it",
    "state_cold": "the state of its features is younger than what they look back on: it was lost, or is newly kept",
    "state_evicted": "the state of its user, session or address was dropped for want of memory while still of use",
    "store_unavailable": "the store that keeps the state of the features did not answer in time",
    "deadline": "it could not be measured before the answer was due",
    "original_unknown": "it repeats a click_id, and what was decided of the first one cannot be read again",
}
"""Why a click could not be measured, in words, by the code that its decision carries."""


class Reason(NamedTuple):
    """One reason of a decision.

    Attributes:
        code: stable, for programs, and all that an advertiser is told.
        words: for auditors: what was measured, and what is usual.
        log_odds: what it adds to the log-odds of the score; None where the model did not decide by it.
    """

    code: str
    words: str
    log_odds: float | None = None


class Explainer:
    """Explains the decisions of one bundle; made once, for it holds a session of the network.

    Args:
        bundle: what decided.

    Raises:
        BundleError: the network reads other features than the catalogue declares.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        scorer = Scorer(bundle.graph)
        layout = compile_catalogue(bundle.catalogue)
        if scorer.names != layout.names:
            raise BundleError(f"bundle {bundle.id}: the network reads other features than the catalogue declares")
        self._horizons = {block.entity: float(block.layout[HORIZON]) / 1e6 for block in layout.blocks}
        # A click counts itself, so that it has no clicks and no rate only where it does not name the entity.
        counts = enumerate(bundle.catalogue)
        self._naming = {feature.entity: at for at, feature in counts if isinstance(feature, Clicks | Velocity)}
        self._attribution: Attribution | None = None
        if bundle.reference is not None:
            reference = bundle.reference.row(layout.names)
            self._attribution = Attribution(scorer, grouped(bundle.catalogue), reference)

    def contributions(self, row: Float32s) -> tuple[Contribution, ...]:
        """Return what each group of features of a row, float32[F], contributes to the log-odds of its score.

        They add up to the difference from the reference click, largest first; empty where the bundle has none.

        Raises:
            FeatureError: the row is not one of this bundle's features.
        """
        return () if self._attribution is None else self._attribution.contributions(row)

    def explain(self, row: Float32s, time: int) -> tuple[Reason, ...]:
        """Return the largest contributions that make a row robotic, in words, the largest first.

        At most five are named, and none with less than a tenth of the largest.

        Args:
            row: features of the click, float32[F].
            time: when the click was made, microseconds UTC.

        Raises:
            FeatureError: the row is not one of this bundle's features.
        """
        found = self.contributions(row)[:MOST]
        return tuple(
            Reason(one.group, self._words(one.column, row, time), one.log_odds)
            for one in found
            if one.log_odds > 0 and one.log_odds >= _LEAST * found[0].log_odds
        )

    def _words(self, column: int, row: Float32s, time: int) -> str:
        feature, reference = self.bundle.catalogue[column], self.bundle.reference
        if reference is None:  # without one there are no contributions to put in words
            raise BundleError(f"bundle {self.bundle.id} has no reference click")
        naming, horizon = self._naming.get(feature.entity), self._horizons.get(feature.entity, math.inf)
        moment = Moment(time, naming is None or bool(row[naming] != 0), horizon)
        return worded(feature, float(row[column]), reference.features[feature.name], moment)


def explain(entry: Entry, context: Context, explainer: Explainer | None = None) -> tuple[Reason, ...]:
    """Return why a click was decided as the journal has it; nothing for a click that the model found valid.

    Args:
        entry: the decision.
        context: what the entry's `context` names in its journal.
        explainer: of the bundle that decided; None where that bundle is not at hand: then the model's decision is
            explained by score and threshold alone.

    Raises:
        BundleError: the explainer is of another bundle.
        FeatureError: the entry's row is not one of the bundle's features.
    """
    versions = dict(context.lists)
    match entry.verdict:
        case Verdict.INVALID_GENERAL:
            found = "names this click as general invalid traffic"
            return tuple(Reason(name, _listed(name, found, versions)) for name in entry.reasons)
        case Verdict.UNMEASURABLE:
            return tuple(Reason(code, UNMEASURABLE.get(code, code)) for code in entry.reasons)
        case Verdict.INVALID_SOPHISTICATED:
            return (Reason(MODEL, _scored(entry)), *_contributed(entry, explainer))
        case _:
            found = "lets this click pass, whatever its score"
            return tuple(Reason(name, _listed(name, found, versions)) for name in entry.lists)


def _listed(name: str, found: str, versions: dict[str, str]) -> str:
    return f"the list rule {name} {found}, by its list of version {versions.get(name, 'unknown')}"


def _scored(entry: Entry) -> str:
    if entry.score is None or entry.threshold is None:
        return "the model decided"
    score, threshold = (str(np.float32(value)) for value in (entry.score, entry.threshold))
    if f"{entry.score:.2f}" != f"{entry.threshold:.2f}":
        score, threshold = f"{entry.score:.2f}", f"{entry.threshold:.2f}"
    return f"the score {score} is above {threshold}, the threshold of the slice {entry.slice}"


def _contributed(entry: Entry, explainer: Explainer | None) -> tuple[Reason, ...]:
    if explainer is None:
        return ()
    if explainer.bundle.id != entry.bundle:
        raise BundleError(
            f"click {entry.click_id} was decided by bundle {entry.bundle}, and cannot be explained by bundle"
            f" {explainer.bundle.id}; fetch the bundle that decided from the registry"
        )
    if not entry.row:
        # Of an account that was erased.
        return ()
    return explainer.explain(np.frombuffer(entry.row, "<f4"), entry.time)
