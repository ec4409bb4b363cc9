"""Parts: the clicks of a span of time with the features, labels and slices that the stages before wrote for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr import metrics
from slidr.calibration.sample import CalibrationSample
from slidr.clock import SECOND
from slidr.daily.listed import listed
from slidr.daily.plan import Run
from slidr.errors import LabelError, SettingsError, nearest
from slidr.evaluation.results import KeptOut
from slidr.features.backfill import feature_rows
from slidr.labels import mature
from slidr.rules import prepare_rules
from slidr.slices import slice_path
from slidr.tables import CLICKS, FEATURES, LABELS, LabelReason


@dataclass(frozen=True)
class Part:
    """The clicks of one part of the log that reach the model, column by column, in one order.

    Attributes:
        clicks: CLICKS.
        rows: float32[n, features].
        human: labelled human, bool[n].
        purchased: the click led to a purchase, bool[n].
        purchaser: number of who bought after it, the same number for the same buyer, -1 where nobody did, int64[n].
        listed: what list rules invalidate before the model.
        unmeasurable: what has neither user, session nor ip, and is on no list.
        unripe: clicks whose attribution window had not closed; they count nowhere.
    """

    clicks: pa.Table
    rows: NDArray[np.float32]
    human: NDArray[np.bool_]
    purchased: NDArray[np.bool_]
    purchaser: NDArray[np.int64]
    listed: KeptOut
    unmeasurable: KeptOut
    unripe: int

    @property
    def times(self) -> NDArray[np.int64]:
        """Times of the clicks, int64[n], microseconds UTC."""
        found: NDArray[np.int64] = self.clicks["time"].cast(pa.int64()).to_numpy()
        return found


def read_part(run: Run, span: tuple[int, int]) -> Part:
    """Return a part of the log with its features and labels, as written by the stages before.

    Raises:
        LabelError: features and labels are not those of the same clicks.
        FeatureError: the features are of another catalogue.
    """
    start, end = span
    clicks = run.lake.read(CLICKS, start=start, end=end)
    features = run.lake.read(FEATURES, start=start, end=end)
    labels = run.lake.read(LABELS, start=start, end=end)
    for table, name in ((features, "features"), (labels, "labels")):
        if not table["click_id"].equals(clicks["click_id"]):
            raise LabelError(
                f"{name} has {table.num_rows} rows for {clicks.num_rows} clicks from {_text(start)} to {_text(end)};"
                " run `slidr label` and `slidr backfill` again"
            )
    rules = [rule for rule in prepare_rules(run.settings.rules) if rule.action == "invalid"]
    invalid = listed(rules, clicks).values()
    general = np.logical_or.reduce([np.zeros(clicks.num_rows, np.bool_), *invalid])
    named = np.logical_or.reduce([pc.is_valid(clicks[column]).to_numpy() for column in ("user", "session", "ip")])
    ripe, purchased = mature(labels), pc.equal(labels["reason"], LabelReason.PURCHASE.value).to_numpy()
    reach = ripe & named & ~general
    names = tuple(feature.name for feature in run.catalogue)
    kept = pa.array(reach)
    return Part(
        clicks.filter(kept),
        feature_rows(features.filter(kept), names),
        labels["human"].to_numpy()[reach],
        purchased[reach],
        numbers(labels["purchaser"].filter(kept)),
        _kept_out(ripe & general, purchased),
        _kept_out(ripe & ~general & ~named, purchased),
        int((~ripe).sum()),
    )


def numbers(names: pa.ChunkedArray[pa.StringScalar]) -> NDArray[np.int64]:
    """Return a number for each name, int64[n], the same for the same name and -1 for null.

    >>> numbers(pa.chunked_array([["ann", None, "bob"], ["ann"]])).tolist()
    [0, -1, 1, 0]
    """
    codes = pa.concat_arrays(names.chunks or [pa.array([], pa.string())]).dictionary_encode().indices
    found: NDArray[np.int64] = pc.fill_null(codes, -1).to_numpy().astype(np.int64)
    return found


def _kept_out(clicks: NDArray[np.bool_], purchased: NDArray[np.bool_]) -> KeptOut:
    return KeptOut(int(clicks.sum()), int((clicks & purchased).sum()))


def _text(moment: int) -> str:
    return datetime.fromtimestamp(moment / SECOND, UTC).strftime("%Y-%m-%d %H:%M")


def slice_sample(
    clicks: pa.Table,
    scores: NDArray[np.float32],
    purchaser: NDArray[np.int64],
    columns: tuple[str, ...],
    busy_clicks: int,
) -> CalibrationSample:
    """Return scored clicks in their slices, as calibration and evaluation take them.

    Args:
        clicks: rows of CLICKS.
        scores: float32[n].
        purchaser: number of who bought after the click, -1 where nobody did, int64[n].
        columns: columns of the clicks that slice the traffic, coarse to fine.
        busy_clicks: a session with more clicks than this in an hour is busy.

    Raises:
        SettingsError: the clicks lack a slice column.
    """
    codes, paths = slice_codes(clicks, columns)
    return CalibrationSample(
        scores=scores,
        purchaser=purchaser,
        busy=metrics.busy(numbers(clicks["session"]), clicks["time"].cast(pa.int64()).to_numpy(), busy_clicks),
        slices=codes,
        paths=paths,
    )


def slice_codes(clicks: pa.Table, columns: tuple[str, ...]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return the deepest slice of each click as its place among the paths, int32[n], and the paths.

    Raises:
        SettingsError: the clicks lack a slice column.
    """
    for column in columns:
        if column not in clicks.column_names:
            raise SettingsError(
                f"slices.columns = {list(columns)}: the clicks have no column {column!r};"
                f" {nearest(column, clicks.column_names)}"
            )
    values = list(zip(*(clicks[column].to_pylist() for column in columns), strict=True)) or [()] * clicks.num_rows
    # Several values may name one slice, such as the text "true" and the boolean.
    named = {value: slice_path(columns, value) for value in dict.fromkeys(values)}
    codes = {path: code for code, path in enumerate(dict.fromkeys(named.values()))}
    return np.fromiter((codes[named[value]] for value in values), np.int32, len(values)), tuple(codes)


def sample_of(run: Run, part: Part, scores: NDArray[np.float32]) -> CalibrationSample:
    """Return a part of the log in the slices of the settings."""
    settings = run.settings
    return slice_sample(part.clicks, scores, part.purchaser, settings.slices.columns, settings.calibration.busy_clicks)
