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
from slidr.daily.plan import Run
from slidr.errors import LabelError, SettingsError
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
        kept_out: clicks of the part that list rules, missing identifiers or an unripe label keep out.
    """

    clicks: pa.Table
    rows: NDArray[np.float32]
    human: NDArray[np.bool_]
    purchased: NDArray[np.bool_]
    kept_out: int

    @property
    def times(self) -> NDArray[np.int64]:
        """Times of the clicks, int64[n], microseconds UTC."""
        found: NDArray[np.int64] = self.clicks["time"].cast(pa.int64()).to_numpy()
        return found


def read_part(run: Run, span: tuple[int, int]) -> Part:
    """Return a part of the log with its features and labels, as written by the stages before.

    Raises:
        LabelError: features and labels are not those of the same clicks.
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
    reach = np.ones(clicks.num_rows, np.bool_)
    for rule in prepare_rules(run.settings.rules):
        reach[rule.hits({column: clicks[column].to_pylist() for column in rule.columns})] = False
    named = [pc.is_valid(clicks[column]).to_numpy() for column in ("user", "session", "ip")]
    reach &= np.logical_or.reduce(named)
    reach &= mature(labels)
    names = tuple(feature.name for feature in run.catalogue)
    kept = pa.array(reach)
    return Part(
        clicks.filter(kept),
        feature_rows(features.filter(kept), names),
        labels["human"].to_numpy()[reach],
        pc.equal(labels["reason"], LabelReason.PURCHASE.value).to_numpy()[reach],
        int((~reach).sum()),
    )


def _text(moment: int) -> str:
    return datetime.fromtimestamp(moment / SECOND, UTC).strftime("%Y-%m-%d %H:%M")


def sample_of(run: Run, part: Part, scores: NDArray[np.float32]) -> CalibrationSample:
    """Return a part of the log as calibration and evaluation take it."""
    columns = run.settings.slices.columns
    missing = [column for column in columns if column not in part.clicks.column_names]
    if missing:
        raise SettingsError(f"slices.columns = {list(columns)}: the clicks have no column {missing[0]!r}")
    values = list(zip(*(part.clicks[column].to_pylist() for column in columns), strict=True)) or [()] * len(scores)
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    sessions = part.clicks["session"].combine_chunks().dictionary_encode()
    coded = pc.fill_null(sessions.indices if isinstance(sessions, pa.DictionaryArray) else sessions, -1)
    return CalibrationSample(
        scores=scores,
        purchased=part.purchased,
        busy=metrics.busy(coded.to_numpy().astype(np.int64), part.times, run.settings.calibration.busy_clicks),
        slices=np.fromiter((codes[value] for value in values), np.int32, len(values)),
        paths=tuple(slice_path(columns, value) for value in codes),
    )
