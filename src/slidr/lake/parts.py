"""Parts: a day's clicks cut as its files are, so that each part is read once and nothing is sorted.

As they are shipped, files lie in the order of time; compacted, in that of click_id. A part is a stretch of the one or
the other, and reads nothing but the row groups that lie in it. It names the same clicks in every table that has a row
for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from slidr.lake.delta import Lake
from slidr.lake.spans import PARTITION, Bounds, spans, within
from slidr.lake.stored import reported, shaped
from slidr.tables import Table

_ROWS = 262_144
_KEY = "click_id"
_OVERLAP = 1.5
"""Row groups are sorted by click_id where, cut by it, a row group falls into this many parts at most in the mean."""


class Part(NamedTuple):
    """Clicks of a day: within bounds of time, and with low <= click_id < high; None for no bound."""

    day: date
    bounds: Bounds
    low: str | None = None
    high: str | None = None


def parts_of(
    lake: Lake, table: Table, start: int | None, end: int | None, *, version: int | None = None, rows: int = _ROWS
) -> list[Part]:
    """Return the parts of a table's clicks with start <= time < end (microseconds), of about `rows` rows, by day.

    Raises:
        TableError: the table does not exist, or the lake holds another schema version.
    """
    bounds = (start, end)
    with reported(lake.address(table)):
        dataset, _, days = lake.dataset(table, bounds, [_KEY, "time"], version)
        return [part for day in days for part in _cut(dataset, day, bounds, rows)]


def read_part(
    lake: Lake, table: Table, part: Part, columns: Sequence[str] | None = None, *, version: int | None = None
) -> pa.Table:
    """Return a part's rows of a table, in no order, and in the same one whenever they are read.

    Raises:
        TableError: the table or a column does not exist, or the lake holds another schema version.
    """
    with reported(lake.address(table)):
        dataset, wanted, _ = lake.dataset(table, part.bounds, columns, version)
        condition: Any = within(part.day, part.bounds)
        if part.low is not None:
            condition &= ds.field(_KEY) >= part.low
        if part.high is not None:
            condition &= ds.field(_KEY) < part.high
        return shaped(table, dataset.to_table(columns=wanted, filter=condition), columns)


def _cut(dataset: ds.Dataset, day: date, bounds: Bounds, rows: int) -> list[Part]:
    groups = [
        (group.statistics[_KEY]["min"], group.statistics[_KEY]["max"], group.num_rows)
        for fragment in dataset.get_fragments(filter=ds.field(PARTITION) == pa.scalar(day, pa.date32()))
        for group in fragment.row_groups
    ]
    if sum(count for _, _, count in groups) <= rows:
        return [Part(day, bounds)]
    cuts, held = [], 0
    for low, _, count in sorted(groups):
        if held + count > rows and held:
            cuts.append(low)
            held = 0
        held += count
    cuts = sorted(set(cuts))
    # Each cut that lies inside a row group has it read once more.
    read = sum(count * (1 + sum(low < cut <= high for cut in cuts)) for low, high, count in groups)
    if read > _OVERLAP * sum(count for _, _, count in groups):
        return [Part(day, span) for span in spans(dataset, day, bounds, rows)]
    edges = [None, *cuts, None]
    return [Part(day, bounds, low, high) for low, high in pairwise(edges)]
