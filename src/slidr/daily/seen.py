"""Seen: what the guardrails of the data look at, counted over the lake day by day, so that logs of any size fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.bundle import Bundle
from slidr.clock import DAY, HOUR, SECOND, midnight
from slidr.daily.drift import drift_of
from slidr.daily.plan import Run
from slidr.guardrails.seen import ColumnSeen, Hours, Seen, SliceSeen
from slidr.labels import mature
from slidr.metrics import Int64s
from slidr.settings import duration
from slidr.slices import slice_path
from slidr.tables import CLICKS, LABELS, PURCHASES, LabelReason

_UNCOMPARED = {"click_id", "time"}


@dataclass(frozen=True)
class Circumstances:
    """What is known of a run besides its tables.

    Attributes:
        champion: what decides now; None where nothing does, or where it cannot be read.
        now: the time, microseconds UTC.
        asked: whether somebody asked for the judged day.
        read: rows of the logs that the run read; None where it read none.
        rejected: those that were refused.
    """

    champion: Bundle | None
    now: int
    asked: bool
    read: int | None = None
    rejected: int = 0


def data_seen(run: Run, about: Circumstances) -> Seen:
    """Return what the guardrails of the data look at, once labels and features are written."""
    start, end = run.split.train[0], run.split.judge[1]
    hours, newest, unripe = _hours(run)
    columns, before, duplicates = _columns(run)
    window = 0 if run.final else duration(run.settings.labels.attribution_window)
    return Seen(
        hours=hours,
        age=None if about.asked or about.champion is None else about.now - end - window,
        silence=end - newest - 1,
        unripe=unripe,
        empty_days=_empty_days(run, start, end),
        columns=columns,
        duplicates=duplicates,
        duplicates_before=before,
        read=about.read,
        rejected=about.rejected,
        slices=_slices(run),
        drift=drift_of(run, about.champion),
    )


def _hours(run: Run) -> tuple[Hours, int, float]:
    """Return the counts by hour, the time of the newest judged click, and the share of labels that are not ripe."""
    begin, end = run.split.train[0], run.split.judge[1]
    back = min(begin, end - run.settings.guardrails.baseline_days * DAY)
    start = back // HOUR * HOUR
    count = -(-(max(run.as_of, end) - start) // HOUR)
    clicks, labelled, human, bought = (np.zeros(count, np.int64) for _ in range(4))
    newest, known = begin, begin
    for times in _times(run, start, start + count * HOUR):
        clicks += _by_hour(times, start, count)
        known = max(known, int(times[-1]))
        newest = max(newest, int(times[times < end].max(initial=begin)))
    total = ripe = 0
    for part in run.lake.batches(LABELS, start=begin, end=end):
        good = mature(part)
        times = _microseconds(part)
        purchase = pc.equal(part["reason"], LabelReason.PURCHASE.value).to_numpy()
        labelled += _by_hour(times[good], start, count)
        human += _by_hour(times[good & part["human"].to_numpy()], start, count)
        bought += _by_hour(times[good & purchase], start, count)
        total, ripe = total + len(good), ripe + int(good.sum())
    purchases = run.lake.read(PURCHASES, start=start, end=run.as_of, columns=["time"])
    # What is bought follows clicks: behind the last click that the lake has, fewer and fewer purchases are no fault.
    until = max(min(run.as_of, known), newest)
    found = Hours(
        start=start,
        zone=run.settings.timezone,
        clicks=clicks,
        purchases=_by_hour(_microseconds(purchases), start, count),
        labelled=labelled,
        human=human,
        bought=bought,
        first=-(-(begin - start) // HOUR),
        last=(end - start) // HOUR,
        last_purchases=(until - start) // HOUR,
    )
    return found, newest, 1 - ripe / total if total else 0.0


def hourly_clicks(run: Run) -> tuple[Int64s, int]:
    """Return the clicks of the run's parts by whole UTC hour, int64[n], and the hour of the day of the first."""
    first = -(-run.split.train[0] // HOUR)
    last = max(run.split.judge[1] // HOUR, first)
    clicks = np.zeros(last - first, np.int64)
    for times in _times(run, first * HOUR, last * HOUR):
        clicks += _by_hour(times, first * HOUR, last - first)
    return clicks, first % 24


def _times(run: Run, start: int, end: int) -> Iterator[Int64s]:
    for part in run.lake.batches(CLICKS, start=start, end=end, columns=["time"]):
        yield _microseconds(part)


def _microseconds(table: pa.Table) -> Int64s:
    found: Int64s = table["time"].cast(pa.int64()).to_numpy()
    return found


def _by_hour(times: Int64s, start: int, count: int) -> Int64s:
    found: Int64s = np.bincount((times - start) // HOUR, minlength=count)[:count].astype(np.int64)
    return found


def _empty_days(run: Run, start: int, end: int) -> tuple[str, ...]:
    first = datetime.fromtimestamp(start // SECOND, UTC).date()
    held = set(run.lake.days(CLICKS))
    days = (first + timedelta(days=place) for place in range(-(-(end - midnight(first)) // DAY)))
    return tuple(day.isoformat() for day in days if day not in held)


def _columns(run: Run) -> tuple[dict[str, ColumnSeen], float, float]:
    """Return each column before and now, and the share of repeated clicks before and now.

    The training part is cut into spans as long as the judged one, so that numbers of values are of equal spans.
    """
    (begin, end), (start, stop) = run.split.train, run.split.judge
    length = stop - start
    edges = [max(begin, end - place * length) for place in range(max((end - begin) // length, 1) + 1)][::-1]
    spans = [span for span in pairwise(edges) if span[0] < span[1]]
    counted = [_count(run, span) for span in (*spans, (start, stop))]
    *before, now = [one for one in counted if one is not None] or [_Counted(0, 0, {}, {})]
    rows = max(sum(one.rows for one in before), 1)
    columns = {
        name: ColumnSeen(
            nulls_before=sum(one.nulls.get(name, one.rows) for one in before) / rows,
            nulls=now.nulls[name] / max(now.rows, 1),
            values_before=sum(one.values.get(name, 0) for one in before) / max(len(before), 1),
            values=now.values[name],
        )
        for name in now.nulls
        if before
    }
    return columns, sum(one.repeated for one in before) / rows, now.repeated / max(now.rows, 1)


@dataclass(frozen=True)
class _Counted:
    """Rows of a span, how many repeat another one, and nulls and values of each column."""

    rows: int
    repeated: int
    nulls: dict[str, int]
    values: dict[str, int]


def _count(run: Run, span: tuple[int, int]) -> _Counted | None:
    clicks = run.lake.read(CLICKS, start=span[0], end=span[1])
    if not clicks.num_rows:
        return None
    names = [field.name for field in clicks.schema if not pa.types.is_nested(field.type)]
    told = [name for name in names if name not in _UNCOMPARED]
    unique = clicks.group_by([name for name in names if name != "click_id"]).aggregate([]).num_rows
    return _Counted(
        clicks.num_rows,
        clicks.num_rows - unique,
        {name: clicks[name].null_count for name in told},
        {name: pc.count_distinct(clicks[name]).as_py() for name in told},
    )


def _slices(run: Run) -> dict[str, SliceSeen]:
    columns = run.settings.slices.columns
    if not columns:
        return {}
    before = _slice_counts(run, run.split.train)
    clicks = sum(count for count, _ in before.values())
    calibrate, judge = (_slice_counts(run, span) for span in (run.split.calibrate, run.split.judge))
    return {
        path: SliceSeen(
            share_before=before.get(path, (0, 0))[0] / max(clicks, 1),
            clicks=judge.get(path, (0, 0))[0],
            purchases=calibrate.get(path, (0, 0))[1] + judge.get(path, (0, 0))[1],
        )
        for path in dict.fromkeys((*before, *judge))
    }


def _slice_counts(run: Run, span: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return clicks and purchasing clicks by slice."""
    columns = run.settings.slices.columns
    clicks = run.lake.read(CLICKS, start=span[0], end=span[1], columns=["click_id", *columns])
    labels = run.lake.read(LABELS, start=span[0], end=span[1], columns=["click_id", "reason"])
    bought = pc.cast(pc.equal(labels["reason"], LabelReason.PURCHASE.value), pa.int64())
    if labels.num_rows != clicks.num_rows:
        bought = pa.array(np.zeros(clicks.num_rows, np.int64))
    table = clicks.select(list(columns)).append_column("bought", bought)
    found: dict[str, tuple[int, int]] = {}
    for row in table.group_by(list(columns)).aggregate([("bought", "count"), ("bought", "sum")]).to_pylist():
        path = slice_path(columns, tuple(row[name] for name in columns))
        count, purchases = found.get(path, (0, 0))
        found[path] = count + row["bought_count"], purchases + (row["bought_sum"] or 0)
    return found
