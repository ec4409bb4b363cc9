"""The only decision code: click, list rules, row, score, slice, threshold, decision.

The service, the batch and the replay all decide through `Decider`, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.bundle import Bundle, read_bundle
from slidr.errors import BundleError, RegistryError
from slidr.features.clicks import Click, ClickBatch, click_type, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.side_by_side import View
from slidr.features.store import Soundness, Store
from slidr.model.scorer import Scorer
from slidr.registry import Registry
from slidr.rules import ListRule
from slidr.slices import ROOT, ancestors, slice_path
from slidr.tables import Verdict

MODEL = "model"
NO_IDENTIFIERS = "no_identifiers"
_MOST_SLICES = 100_000


def read_champion(registry: str, folder: Path) -> Bundle:
    """Return the champion of a registry, fetched into a folder.

    Raises:
        RegistryError: the registry cannot be read, or has no champion.
        BundleError: the bundle does not load exactly.
    """
    held = Registry(registry)
    champion = held.champion()
    if champion is None:
        raise RegistryError(f"registry {registry} has no champion; run `slidr daily`, or `slidr promote` a bundle")
    return read_bundle(held.fetch(champion.bundle, folder))


def check_serves(bundle: Bundle) -> Scorer:
    """Return the scorer of a bundle, once its parts are found to belong together.

    A bundle whose parts do not would load, and then decide wrongly or not at all.

    Raises:
        BundleError: the network reads other features than the catalogue declares, no threshold is set for all traffic,
            or a threshold is of a slice that the clicks are not sliced by.
    """
    names = tuple(feature.name for feature in bundle.catalogue)
    scorer = Scorer(bundle.graph)
    if scorer.names != names:
        raise BundleError(f"bundle {bundle.id}: the network reads other features than the catalogue declares")
    slices = {threshold.slice for threshold in bundle.thresholds}
    if ROOT not in slices:
        raise BundleError(f"bundle {bundle.id}: thresholds.json sets none for {ROOT!r}, which unseen slices need")
    columns = bundle.contract.slice_columns
    for path in sorted(slices - {ROOT}):
        found = tuple(part.partition("=")[0] for part in path.split("/"))
        if found != columns[: len(found)]:
            raise BundleError(
                f"bundle {bundle.id}: thresholds.json has the slice {path!r}, and clicks are sliced by"
                f" {', '.join(columns) or 'nothing'}; calibrate again"
            )
    return scorer


class Decision(msgspec.Struct, frozen=True):
    """What was decided of one click; score and threshold are None where the model was not asked."""

    click_id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    lists: tuple[str, ...]
    score: float | None
    threshold: float | None
    slice: str
    bundle: str
    sequence: int


class Decisions(NamedTuple):
    """Decisions of n clicks, by column, in the order given.

    Attributes:
        batch: the clicks as the fold took them.
        click_ids: as given.
        rows: float32[n, features]; zeros for a repeat.
        sequences: place of each click in the fold, int64[n]; a repeat carries its original's.
        repeats: click_id seen within the hour, bool[n]; the original's decision holds.
        scores: float32[n], NaN where the model was not asked.
        thresholds: float32[n], NaN likewise.
        slices: the slice whose threshold holds.
        verdicts: what was decided.
        reasons: stable codes; empty for a valid click.
        lists: list rules that the click hit.
        bundle: identity of the bundle.
    """

    batch: ClickBatch
    click_ids: list[str]
    rows: NDArray[np.float32]
    sequences: NDArray[np.int64]
    repeats: NDArray[np.bool_]
    scores: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    slices: list[str]
    verdicts: list[Verdict]
    reasons: list[tuple[str, ...]]
    lists: list[tuple[str, ...]]
    bundle: str

    def at(self, place: int) -> Decision:
        """Return the decision of one click."""
        score, threshold = float(self.scores[place]), float(self.thresholds[place])
        return Decision(
            self.click_ids[place],
            self.verdicts[place],
            self.reasons[place],
            self.lists[place],
            None if np.isnan(score) else score,
            None if np.isnan(threshold) else threshold,
            self.slices[place],
            self.bundle,
            int(self.sequences[place]),
        )


class Decider:
    """Decides clicks with one bundle over one store.

    Args:
        bundle: model, thresholds and features.
        store: the state of the features; must hold the bundle's blocks.
        pseudonymiser: hashes identifiers; must know the key that the bundle was made with.
        rules: list rules, which run before the model.

    Raises:
        BundleError: the bundle's parts do not belong together, or the secret key is another one.
    """

    def __init__(
        self, bundle: Bundle, store: Store, pseudonymiser: Pseudonymiser, rules: Sequence[ListRule] = ()
    ) -> None:
        self.bundle = bundle
        self.layout: Layout = compile_catalogue(bundle.catalogue)
        self.store = store
        # Clicks for several catalogues side by side are encoded once, for all of them.
        self.encoding: Layout = store.encoding if isinstance(store, View) else self.layout
        self.click: type[Click] = click_type(bundle.contract.slice_columns)
        self.pseudonymiser = pseudonymiser
        self._rules = tuple(rules)
        self._scorer = check_serves(bundle)
        self._thresholds = {threshold.slice: np.float32(threshold.threshold) for threshold in bundle.thresholds}
        self._slices: dict[tuple[object, ...], tuple[str, np.float32]] = {}
        if bundle.contract.key_fingerprint not in pseudonymiser.known:
            raise BundleError(
                f"bundle {bundle.id} was made with the secret key {bundle.contract.key_fingerprint}, this process has"
                f" {', '.join(sorted(pseudonymiser.known))}: use the key file of the training"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the clicks that are read as they came: by list rules and to find the slice."""
        return tuple(
            dict.fromkeys(
                [*self.bundle.contract.slice_columns, *(name for rule in self._rules for name in rule.columns)]
            )
        )

    def decide(self, clicks: Sequence[Click]) -> Decisions:
        """Decide clicks of a request, in the order given."""
        batch = encode_clicks(clicks, self.encoding, self.pseudonymiser)
        attributes = {name: [getattr(click, name, None) for click in clicks] for name in self.columns}
        return self.decide_batch(batch, [click.click_id for click in clicks], attributes)

    def decide_batch(
        self, batch: ClickBatch, click_ids: list[str], attributes: Mapping[str, Sequence[object]]
    ) -> Decisions:
        """Decide encoded clicks, in the order given.

        Args:
            batch: the clicks as the fold takes them.
            click_ids: as given.
            attributes: the values of `columns`, one a click.
        """
        clicks = len(batch)
        hits: dict[int, tuple[str, ...]] = {}
        for rule in self._rules:
            for place in rule.hits(attributes):
                hits[place] = (*hits.get(place, ()), rule.name)
        rows, sequences, repeats, soundness = self.store.fold(batch)
        # Rows 0 to 2 of the key matrix are user, session and ip.
        nameless = ~batch.keys[:3].any(axis=0)
        unsound = soundness != Soundness.SOUND
        asked = ~(repeats | nameless | unsound)
        asked[list(hits)] = False
        scores = np.full(clicks, np.nan, np.float32)
        thresholds = np.full(clicks, np.nan, np.float32)
        slices, found = self._slice(attributes, clicks)
        if asked.all():
            scores, thresholds = self._scorer.score(rows), found
        elif asked.any():
            scores[asked], thresholds[asked] = self._scorer.score(rows[asked]), found[asked]
        verdicts = [Verdict.VALID] * clicks
        reasons: list[tuple[str, ...]] = [()] * clicks
        for place in np.flatnonzero(scores > thresholds).tolist():
            verdicts[place], reasons[place] = Verdict.INVALID_SOPHISTICATED, (MODEL,)
        for place in np.flatnonzero(unsound).tolist():
            verdicts[place], reasons[place] = Verdict.UNMEASURABLE, (Soundness(soundness[place]).name.lower(),)
        for place in np.flatnonzero(nameless).tolist():
            verdicts[place], reasons[place] = Verdict.UNMEASURABLE, (NO_IDENTIFIERS,)
        for place, names in hits.items():
            verdicts[place], reasons[place] = Verdict.INVALID_GENERAL, names
        lists = [hits.get(place, ()) for place in range(clicks)]
        return Decisions(
            batch, click_ids, rows, sequences, repeats, scores, thresholds, slices, verdicts, reasons, lists,
            self.bundle.id,
        )  # fmt: skip

    def _slice(self, attributes: Mapping[str, Sequence[object]], clicks: int) -> tuple[list[str], NDArray[np.float32]]:
        """Return each click's nearest calibrated slice and its threshold."""
        columns = self.bundle.contract.slice_columns
        if not columns:
            return [ROOT] * clicks, np.full(clicks, self._thresholds[ROOT])
        slices, thresholds = [], np.empty(clicks, np.float32)
        known = self._slices
        for place, values in enumerate(zip(*(attributes[column] for column in columns), strict=True)):
            # True and 1 are equal and name different slices.
            key = (*values, *map(type, values))
            entry = known.get(key)
            if entry is None:
                path = next(path for path in ancestors(slice_path(columns, values)) if path in self._thresholds)
                entry = (path, self._thresholds[path])
                # Values come from outside: what is remembered of them is bounded.
                if len(known) < _MOST_SLICES:
                    known[key] = entry
            slices.append(entry[0])
            thresholds[place] = entry[1]
        return slices, thresholds
