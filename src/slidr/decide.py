"""The only decision code: click, list rules, row, score, slice, threshold, decision.

The service, the batch and the replay all decide through `Decider`, so that they cannot disagree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.bundle import Bundle
from slidr.errors import BundleError
from slidr.features.catalogue import parse_features
from slidr.features.clicks import Click, ClickBatch, click_type, encode_clicks
from slidr.features.doubts import DOUBTS, doubts_of
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.side_by_side import BlockwiseStore, SideBySide, View, side_by_side
from slidr.features.store import Folded, Soundness, Store
from slidr.journal import Context
from slidr.model.scorer import Scorer
from slidr.rules import ListRule
from slidr.slices import ROOT, ancestors, slice_path
from slidr.tables import Verdict

MODEL = "model"
ALLOW = "allow"
"""The action of a list rule whose hits are valid, whatever the model thinks of them."""
# The attributes of an enumeration are looked up slowly, and these stand in every decision.
_VALID, _INVALID, _BY_MODEL = Verdict.VALID, Verdict.INVALID_SOPHISTICATED, (MODEL,)
_MOST_SLICES = 100_000


def check_serves(bundle: Bundle, device: str = "cpu") -> Scorer:
    """Return the scorer of a bundle on a device, once its parts are found to belong together.

    A bundle whose parts do not would load, and then decide wrongly or not at all.

    Raises:
        BundleError: the network reads other features than the catalogue declares, no threshold is set for all traffic,
            or a threshold is of a slice that the clicks are not sliced by.
    """
    names = tuple(feature.name for feature in bundle.catalogue)
    scorer = Scorer(bundle.graph, device)
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
        context: what the journal names keys, rows and versions by.
        seconds: spent on the list rules, the fold, and the model.
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
    context: str
    seconds: tuple[float, float, float]

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


def attributes_of(clicks: Sequence[Click], columns: Iterable[str]) -> dict[str, list[object]]:
    """Return columns of the clicks of a request as they came; null where a click has none."""
    return {name: [getattr(click, name, None) for click in clicks] for name in columns}


def deciders(
    bundles: Sequence[Bundle],
    open_store: Callable[[Layout], BlockwiseStore],
    pseudonymiser: Pseudonymiser,
    rules: Sequence[ListRule] = (),
    *,
    device: str = "cpu",
) -> tuple[Decider, ...]:
    """Return a decider for each bundle, all over one store, which folds what they and the list rules read once.

    The first one is asked first, and decides; the others decide `second`.

    Args:
        bundles: at least one.
        open_store: opens the store of a layout.
        pseudonymiser: see `Decider`.
        rules: see `Decider`.
        device: see `Decider`.

    Raises:
        BundleError: see `Decider`.
    """
    layouts = _layouts(bundles, rules)
    store = open_store(union_layout(bundles, rules))
    if len(layouts) == 1:
        return (Decider(bundles[0], store, pseudonymiser, rules, device=device),)
    views = SideBySide(layouts, store).views
    counts = views[-1] if len(layouts) > len(bundles) else None
    return tuple(
        Decider(bundle, view, pseudonymiser, rules, counts=counts, device=device)
        for bundle, view in zip(bundles, views, strict=False)
    )


def union_layout(bundles: Sequence[Bundle], rules: Sequence[ListRule] = ()) -> Layout:
    """Return what a store has to fold for bundles and list rules."""
    layouts = _layouts(bundles, rules)
    return layouts[0] if len(layouts) == 1 else side_by_side(layouts)[0]


def _hits(rules: Iterable[ListRule], attributes: Mapping[str, Sequence[object]], clicks: int) -> list[tuple[str, ...]]:
    """Return the names of the rules that each click hits."""
    hits: list[tuple[str, ...]] = [()] * clicks
    for rule in rules:
        for place in rule.hits(attributes):
            hits[place] = (*hits[place], rule.name)
    return hits


def _layouts(bundles: Sequence[Bundle], rules: Sequence[ListRule]) -> list[Layout]:
    """Return the layouts of the bundles and, behind them, that of the features which list rules read, if any do."""
    layouts = [compile_catalogue(bundle.catalogue) for bundle in bundles]
    counted = [feature for rule in rules for feature in rule.features]
    return [*layouts, compile_catalogue(parse_features(counted))] if counted else layouts


class Decider:
    """Decides clicks with one bundle over one store.

    Args:
        bundle: model, thresholds and features.
        store: the state of the features; must hold the bundle's blocks.
        pseudonymiser: hashes identifiers; must know the key that the bundle was made with.
        rules: list rules, which run before the model.
        counts: the store of the features that list rules read, see `deciders`; None where none reads any.
        device: where the model is asked: `cpu`, or `cuda`.

    Attributes:
        context: what the journal's entries of this decider have in common.
        columns: the columns of the clicks that are read as they came: by list rules, and to find the slice.

    Raises:
        BundleError: the bundle's parts do not belong together, or the secret key is another one.
    """

    def __init__(
        self,
        bundle: Bundle,
        store: Store,
        pseudonymiser: Pseudonymiser,
        rules: Sequence[ListRule] = (),
        *,
        counts: View | None = None,
        device: str = "cpu",
    ) -> None:
        self.bundle = bundle
        self.layout: Layout = compile_catalogue(bundle.catalogue)
        self.store = store
        # Clicks for several catalogues side by side are encoded once, for all of them.
        self.encoding: Layout = store.encoding if isinstance(store, View) else self.layout
        self.click: type[Click] = click_type(bundle.contract.slice_columns)
        self.pseudonymiser = pseudonymiser
        self.rules = tuple(rule for rule in rules if counts is not None or not rule.features)
        self._counts = counts
        self._allowing = frozenset(rule.name for rule in rules if rule.action == ALLOW)
        self._scorer = check_serves(bundle, device)
        self._thresholds = {threshold.slice: np.float32(threshold.threshold) for threshold in bundle.thresholds}
        self._slices: dict[tuple[object, ...], tuple[str, np.float32]] = {}
        if bundle.contract.key_fingerprint not in pseudonymiser.known:
            raise BundleError(
                f"bundle {bundle.id} was made with the secret key {bundle.contract.key_fingerprint}, this process has"
                f" {', '.join(sorted(pseudonymiser.known))}: use the key file of the training"
            )
        lists = tuple((rule.name, rule.version) for rule in self.rules)
        self.context = Context(bundle.id, self.encoding.keys, self.layout.names, lists, version("slidr"))
        self._context = self.context.id
        read = (*bundle.contract.slice_columns, *(name for rule in self.rules for name in rule.columns))
        self.columns = tuple(dict.fromkeys(read))

    def decide(self, clicks: Sequence[Click]) -> Decisions:
        """Decide clicks of a request, in the order given."""
        batch = encode_clicks(clicks, self.encoding, self.pseudonymiser)
        attributes = attributes_of(clicks, self.columns)
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
        began = time.perf_counter()
        folded = self.store.fold(batch)
        ended = time.perf_counter()
        lists = _hits(self.rules, {**attributes, **self._counted(batch)}, len(batch))
        ruled = time.perf_counter()
        return self._judge(batch, click_ids, attributes, folded, lists, (ruled - ended, ended - began))

    def second(self, first: Decisions, attributes: Mapping[str, Sequence[object]]) -> Decisions:
        """Decide again what another decider over the same state has just decided: as a challenger would have.

        Args:
            first: what the champion decided; its list hits hold here too.
            attributes: the values of `columns`, one a click.
        """
        folded = self.store.fold(first.batch)
        return self._judge(first.batch, first.click_ids, attributes, folded, first.lists, (0.0, 0.0))

    def unmeasured(self, clicks: Sequence[Click], reason: str) -> Decisions:
        """Decide clicks without the store, for a reason that it need not be asked for; none is folded.

        They are not measured, but for those that a list rule hits which counts nothing.
        """
        batch = encode_clicks(clicks, self.encoding, self.pseudonymiser)
        attributes = attributes_of(clicks, self.columns)
        count, never = len(batch), np.full(len(batch), np.nan, np.float32)
        lists = _hits([rule for rule in self.rules if not rule.features], attributes, count)
        verdicts: list[Verdict] = [Verdict.UNMEASURABLE] * count
        reasons: list[tuple[str, ...]] = [(reason,)] * count
        self._follow_lists(lists, verdicts, reasons)
        return Decisions(
            batch, [click.click_id for click in clicks], np.zeros((count, 0), np.float32), np.full(count, -1),
            np.zeros(count, np.bool_), never, never, self._slice(attributes, count)[0], verdicts, reasons, lists,
            self.bundle.id, self._context, (0.0, 0.0, 0.0),
        )  # fmt: skip

    def counted_hits(self, batch: ClickBatch) -> list[tuple[str, ...]]:
        """Return the names of the list rules that count which each click hits, behind the fold of the batch."""
        if self._counts is None:
            return [()] * len(batch)
        return _hits([rule for rule in self.rules if rule.features], self._counted(batch), len(batch))

    def general(self, names: tuple[str, ...]) -> tuple[Verdict, tuple[str, ...]]:
        """Return what the list rules that a click hits decide, and the reasons."""
        invalid = tuple(name for name in names if name not in self._allowing)
        return (Verdict.INVALID_GENERAL if invalid else _VALID), invalid

    def scores(self, rows: NDArray[np.float32], asked: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the model's scores of rows, float32[n]; NaN for those that it is not asked about."""
        scores = np.full(len(rows), np.nan, np.float32)
        if asked.any():
            scores[asked] = self._scorer.score(rows if asked.all() else rows[asked])
        return scores

    def nearest(self, path: str) -> tuple[str, np.float32]:
        """Return the nearest calibrated slice of a click, from its deepest one, and its threshold."""
        found = next(above for above in ancestors(path) if above in self._thresholds)
        return found, self._thresholds[found]

    def _counted(self, batch: ClickBatch) -> dict[str, list[object]]:
        """Return the values of the features that list rules read, by name."""
        if self._counts is None:
            return {}
        counted = self._counts.fold(batch)
        values = np.where(counted.soundness == Soundness.SOUND, counted.rows.T, np.float32(0))
        return dict(zip(self._counts.layout.names, values.tolist(), strict=True))

    def _follow_lists(
        self, lists: list[tuple[str, ...]], verdicts: list[Verdict], reasons: list[tuple[str, ...]]
    ) -> None:
        """Let what list rules hit go before all else."""
        for place, names in enumerate(lists):
            if names:
                verdicts[place], reasons[place] = self.general(names)

    def _judge(
        self,
        batch: ClickBatch,
        click_ids: list[str],
        attributes: Mapping[str, Sequence[object]],
        folded: Folded,
        lists: list[tuple[str, ...]],
        spent: tuple[float, float],
    ) -> Decisions:
        began = time.perf_counter()
        rows, sequences, repeats, soundness = folded
        clicks, doubts = len(batch), doubts_of(batch, soundness)
        slices, thresholds = self._slice(attributes, clicks)
        verdicts = [_VALID] * clicks
        reasons: list[tuple[str, ...]] = [()] * clicks
        if not any(lists) and not doubts.any():
            scores = self._scorer.score(rows)
        else:
            asked = doubts == 0
            asked[[place for place, names in enumerate(lists) if names]] = False
            scores = self.scores(rows, asked)
            thresholds[~asked] = np.nan
            for place in doubts.nonzero()[0].tolist():
                verdicts[place], reasons[place] = Verdict.UNMEASURABLE, (DOUBTS[doubts[place]],)
            self._follow_lists(lists, verdicts, reasons)
        for place in (scores > thresholds).nonzero()[0].tolist():
            verdicts[place], reasons[place] = _INVALID, _BY_MODEL
        seconds = (*spent, time.perf_counter() - began)
        return Decisions(
            batch, click_ids, rows, sequences, repeats, scores, thresholds, slices, verdicts, reasons, lists,
            self.bundle.id, self._context, seconds,
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
                entry = self.nearest(slice_path(columns, values))
                # Values come from outside: what is remembered of them is bounded.
                if len(known) < _MOST_SLICES:
                    known[key] = entry
            slices.append(entry[0])
            thresholds[place] = entry[1]
        return slices, thresholds
