"""Clicks of a span of time, scored by a network, with their slices and who bought after them."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.backtest.plan import Source, Span
from slidr.bundle import Bundle
from slidr.calibration.sample import CalibrationSample
from slidr.clock import SECOND
from slidr.daily.listed import listed
from slidr.daily.parts import numbers, slice_codes, slice_sample
from slidr.daily.plan import Logged
from slidr.errors import LabelError, TableError
from slidr.features.backfill import feature_rows
from slidr.labels import label
from slidr.lake.delta import Lake
from slidr.model.scorer import Scorer
from slidr.replay.rows import Contexts, feature_matrix
from slidr.rules import ListRule
from slidr.settings import Settings
from slidr.tables import CLICKS, DECISIONS, FEATURES, NO_CURRENCY, PURCHASES, ROWS, Verdict

_PAID = ("campaign", "advertiser", "cost", "currency")


class Scored(NamedTuple):
    """The clicks of a span.

    Attributes:
        clicks: columns of CLICKS that figures, slices and sessions need; cost and currency without nulls.
        general: a list rule finds the click invalid, bool[n].
        reached: the model was asked, bool[n]; the rest is unmeasurable.
        scores: float32[reached].
        purchaser: who bought after the click; null where nobody did.
        slices: deepest slice of each click as its place in `paths`, int32[n].
        paths: the slices.
    """

    clicks: pa.Table
    general: NDArray[np.bool_]
    reached: NDArray[np.bool_]
    scores: NDArray[np.float32]
    purchaser: pa.ChunkedArray
    slices: NDArray[np.int32]
    paths: tuple[str, ...]

    def sample(self, settings: Settings) -> CalibrationSample:
        """Return those that reached the model, as calibration takes them.

        Raises:
            CalibrationError: there are none, or none of them led to a purchase.
        """
        kept = pa.array(self.reached)
        return slice_sample(
            self.clicks.filter(kept),
            self.scores,
            numbers(self.purchaser.filter(kept)),
            settings.slices.columns,
            settings.calibration.busy_clicks,
        )


class Reader:
    """Reads and scores the clicks of spans; the newest few are kept, for what is judged today sets the level tomorrow.

    Args:
        log: the lake, and when labels are mature.
        settings: slices, labels and rules.
        rules: the list rules.
        source: whose rows are scored.
        now: purchases up to here are known, microseconds UTC.
    """

    _KEPT = 6

    def __init__(self, log: Logged, settings: Settings, rules: tuple[ListRule, ...], source: Source, now: int) -> None:
        self._log, self._settings, self._source, self._now = log, settings, source, now
        self._lake: Lake = log.lake
        self._rules = tuple(rule for rule in rules if rule.action == "invalid")
        self._contexts = Contexts(self._lake) if source == "journal" else None
        self._purchases = self._lake.read(PURCHASES, end=now) if self._lake.exists(PURCHASES) else None
        self._known: dict[tuple[str, Span], Scored] = {}

    def read(self, bundle: Bundle, scorer: Scorer, span: Span) -> Scored:
        """Return the clicks of a span, scored by a bundle's network.

        Raises:
            LabelError: no purchase is known, or features are of other clicks.
            FeatureError: the features in the lake are of another catalogue.
            BundleError: journalled rows lack a feature of the bundle.
            TableError: the lake cannot be read.
        """
        key = (bundle.id, span)
        if key not in self._known:
            while len(self._known) >= self._KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = self._read(bundle, scorer, span)
        return self._known[key]

    def _read(self, bundle: Bundle, scorer: Scorer, span: Span) -> Scored:
        clicks = self._lake.read(CLICKS, start=span.start, end=span.end)
        if self._source == "lake":
            general, reached, rows = self._backfilled(bundle, clicks, span)
        else:
            general, reached, rows = self._journalled(bundle, clicks, span)
        columns = self._settings.slices.columns
        codes, paths = slice_codes(clicks, columns)
        kept = dict.fromkeys(("click_id", "time", "session", *_PAID, *columns))
        purchaser = self._bought(clicks, span)
        clicks = clicks.select(list(kept))
        for name, missing in (("cost", 0), ("currency", NO_CURRENCY)):
            clicks = clicks.set_column(clicks.column_names.index(name), name, clicks[name].fill_null(missing))
        return Scored(clicks, general, reached, scorer.score(rows), purchaser, codes, paths)

    def _bought(self, clicks: pa.Table, span: Span) -> pa.ChunkedArray:
        """Return who bought after each click; clicks behind the span take their own purchases."""
        if self._purchases is None:
            raise LabelError("the lake has no purchases, which tell false positives; run `slidr ingest` or `collect`")
        behind = self._lake.read(CLICKS, start=span.end, end=span.end + self._log.window)
        columns = ["click_id", "time", "user", "session", "ip"]
        both = pa.concat_tables([clicks.select(columns), behind.select(columns)])
        settings = msgspec.structs.replace(self._settings.labels, rfm=False)
        labels = label(both, self._purchases, as_of=self._now, settings=settings, final=self._log.final)
        return labels["purchaser"].slice(0, clicks.num_rows)

    def _backfilled(
        self, bundle: Bundle, clicks: pa.Table, span: Span
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
        features = self._lake.read(FEATURES, start=span.start, end=span.end)
        if not features["click_id"].equals(clicks["click_id"]):
            raise LabelError(
                f"the lake has features of {features.num_rows:,} of {clicks.num_rows:,} clicks; run `slidr backfill`"
            )
        hits = listed(self._rules, clicks).values()
        general = np.logical_or.reduce([np.zeros(clicks.num_rows, np.bool_), *hits])
        named = np.logical_or.reduce([pc.is_valid(clicks[column]).to_numpy() for column in ("user", "session", "ip")])
        reached = named & ~general
        names = tuple(feature.name for feature in bundle.catalogue)
        return general, reached, feature_rows(features.filter(pa.array(reached)), names)

    def _journalled(
        self, bundle: Bundle, clicks: pa.Table, span: Span
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
        if self._contexts is None or not self._lake.exists(ROWS) or not self._lake.exists(DECISIONS):
            raise TableError(f"the lake has no journalled rows ({self._lake.address(ROWS)}); run `slidr ship` first")
        # A log may round the time of a click.
        near = {"start": span.start - SECOND, "end": span.end + SECOND}
        first = self._lake.read(
            DECISIONS, **near, columns=["decision_id", "click_id", "verdict", "score", "supersedes"]
        )
        first = first.filter(pc.is_null(first["supersedes"]))
        hits = first.filter(pc.equal(first["verdict"], Verdict.INVALID_GENERAL.value))["click_id"]
        general = pc.is_in(clicks["click_id"], value_set=hits.combine_chunks()).to_numpy()
        asked = first.filter(pc.is_valid(first["score"]))["decision_id"].combine_chunks()
        rows = self._lake.read(ROWS, **near, columns=["click_id", "time", "decision_id", "context", "row"])
        rows = rows.filter(pc.and_(pc.is_in(rows["decision_id"], value_set=asked), _full(rows["row"])))
        places = pc.index_in(clicks["click_id"], value_set=rows["click_id"].combine_chunks()).combine_chunks()
        reached = pc.is_valid(places).to_numpy(zero_copy_only=False) & ~general
        wanted = rows.take(places.filter(pa.array(reached)))
        names = tuple(feature.name for feature in bundle.catalogue)
        return general, reached, feature_matrix(wanted, names, self._contexts, bundle.id)


def _full(rows: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.greater(pc.binary_length(rows), 0)
