"""Spans: a day of a partitioned table read in order, whole or in parts between seconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from slidr.clock import DAY, SECOND, midnight
from slidr.tables import Table

PARTITION = "day"
"""The column that a table with times is partitioned by: the UTC date."""

Bounds = tuple[int | None, int | None]
"""First instant and instant after the last, microseconds UTC; None for no bound."""


def overlaps(day: date, bounds: Bounds) -> bool:
    """Return whether a day and the bounds have an instant in common."""
    start, end = bounds
    return (start is None or start < midnight(day) + DAY) and (end is None or midnight(day) < end)


def _instant(time: int) -> pa.Scalar[Any]:
    return pa.scalar(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time), pa.timestamp("us", tz="UTC"))


def identifier(table: Table) -> str:
    """Return the column that orders rows of one time: the click where every row has one."""
    names = [column.name for column in table.columns if column.name == "click_id" and not column.nullable]
    return (*names, table.columns[0].name)[0]


def within(day: date, bounds: Bounds) -> ds.Expression:
    """Return what is true of the rows of a day that lie within bounds."""
    wanted: Any = ds.field(PARTITION) == pa.scalar(day, pa.date32())
    start, end = bounds
    if start is not None:
        wanted &= ds.field("time") >= _instant(start)
    if end is not None:
        wanted &= ds.field("time") < _instant(end)
    return wanted


def spans(dataset: ds.Dataset, day: date, bounds: Bounds, rows: int) -> list[Bounds]:
    """Cut a day between seconds into spans of at most `rows` rows, where no single second holds more."""
    wanted = within(day, bounds)
    if dataset.count_rows(filter=wanted) <= rows:
        return [bounds]
    begin, counts = midnight(day), np.zeros(DAY // SECOND, np.int64)
    for batch in dataset.to_batches(columns=["time"], filter=wanted):
        times = batch["time"].cast(pa.int64()).to_numpy()
        counts += np.bincount((times - begin) // SECOND, minlength=len(counts))
    before = np.append(0, np.cumsum(counts))
    edges = [0]
    while edges[-1] < len(counts):
        full = int(np.searchsorted(before, before[edges[-1]] + rows, side="right")) - 1
        edges.append(max(full, edges[-1] + 1))
    first = begin if bounds[0] is None else bounds[0]
    last = begin + DAY if bounds[1] is None else bounds[1]
    return [(max(begin + one * SECOND, first), min(begin + other * SECOND, last)) for one, other in pairwise(edges)]


def span_rows(dataset: ds.Dataset, day: date, bounds: Bounds, columns: list[str], table: Table) -> pa.Table:
    """Read one day or a part of it in order, which bounds the memory that sorting takes."""
    keys = [name for name in ("time", identifier(table)) if name not in columns]
    rows = dataset.to_table(columns=[*columns, *keys], filter=within(day, bounds))
    steps = np.diff(rows["time"].cast(pa.int64()).to_numpy())
    if not (steps > 0).all():
        rows = rows.take(pc.sort_indices(rows, sort_keys=[("time", "ascending"), (identifier(table), "ascending")]))
    return rows.select(columns)
