"""Upkeep of the lake: days are compacted, sorted by click_id, and removed once they are older than is kept.

A reader that looks for one click skips every file and row group whose least and greatest click_id exclude it. In files
as they were shipped each of them may hold it; in sorted ones a single row group may.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from slidr.datasets import dataset_of
from slidr.errors import TableError
from slidr.lake.delta import Lake
from slidr.lake.spans import PARTITION
from slidr.lake.stored import VERSION, held_version, predicate, reported
from slidr.tables import DECISIONS, ROWS, SHADOWS, TABLES, Table

COMPACTED = (DECISIONS, ROWS, SHADOWS)
"""Tables that grow by many small commits."""
KEY = "click_id"
"""What the rows of a compacted day are sorted by."""
ROW_GROUP = 65_536
"""Rows of a row group, of which a look-up reads one."""
_ROWS = 1_000_000
"""Rows that are sorted at once, which bounds the memory."""
_DEPTH = 3  # row groups, in the mean, that a look-up may read of a day that is left alone, and its small files
_SAMPLE = 100_000  # click_ids that tell where a day is cut


class Compacted(NamedTuple):
    """What a compaction of one day did.

    Attributes:
        table: name of the table.
        day: the UTC day.
        rows: rows of the day, none of which was changed.
        files: files that it had.
    """

    table: str
    day: date
    rows: int
    files: int


def compact(lake: Lake, before: date, tables: tuple[Table, ...] = COMPACTED) -> list[Compacted]:
    """Sort each day before this one by click_id, into few files; a day that is sorted is left alone.

    A day that is written to meanwhile is left for the next time.

    Raises:
        TableError: a table cannot be read or written.
    """
    past = ((table, day) for table in tables for day in lake.days(table) if day < before)
    return [done for table, day in past if (done := _compact(lake, table, day)) is not None]


def oldest_kept(newest: date, months: int) -> date:
    """Return the first day that is kept, so many calendar months before the newest one.

    >>> oldest_kept(date(2026, 3, 31), 13)
    datetime.date(2025, 2, 28)
    """
    year, month = divmod(newest.year * 12 + newest.month - 1 - months, 12)
    return date(year, month + 1, min(newest.day, monthrange(year, month + 1)[1]))


def expire(lake: Lake, today: date, months: int, tables: tuple[Table, ...] = TABLES) -> dict[str, list[date]]:
    """Remove the days that are older than so many months, from each table that has days; returns them.

    They are counted back from today, or from a table's newest day where that is older: a log of long ago stays whole.

    Raises:
        TableError: a table cannot be read or written.
    """
    removed = {}
    for table in tables:
        days = lake.days(table)
        old = [day for day in days if day < oldest_kept(min(today, days[-1]), months)]
        if old:
            with reported(lake.address(table)):
                lake.open(table).delete(predicate(old))
            removed[table.name] = old
    return removed


def vacuum(lake: Lake, hours: int, tables: tuple[Table, ...] = TABLES) -> int:
    """Delete the files that no version of the last hours reads, and return how many.

    Raises:
        TableError: a table cannot be read, or its files not be deleted.
    """
    deleted = 0
    for table in tables:
        if lake.exists(table):
            with reported(lake.address(table)):
                delta = lake.open(table)
                deleted += len(delta.vacuum(hours, dry_run=False, enforce_retention_duration=False))
    return deleted


def _compact(lake: Lake, table: Table, day: date) -> Compacted | None:
    with reported(lake.address(table)):
        delta = lake.open(table)
        dataset = dataset_of(delta)
        of_day: Any = ds.field(PARTITION) == pa.scalar(day, pa.date32())
        fragments = list(dataset.get_fragments(filter=of_day))
        if _is_sorted(fragments):
            return None
        rows = dataset.count_rows(filter=of_day)
        schema = dataset.schema
        # Delta keeps the version of the table's schema with its first field.
        first = schema.field(0)
        metadata = {**(first.metadata or {}), VERSION: held_version(delta) or str(table.version)}
        schema = schema.set(0, first.with_metadata(metadata))
        reader = pa.RecordBatchReader.from_batches(schema, _sorted(dataset.replace_schema(schema), of_day, rows, table))
        try:
            write_deltalake(
                delta,
                reader,
                mode="overwrite",
                predicate=predicate([day]),
                partition_by=[PARTITION],
                writer_properties=WriterProperties(
                    compression="ZSTD", compression_level=1, max_row_group_size=ROW_GROUP, statistics_truncate_length=64
                ),
            )
        except CommitFailedError:
            return None
    return Compacted(table.name, day, rows, len(fragments))


def _is_sorted(fragments: list[Any]) -> bool:
    """Return whether a look-up reads few row groups, by their statistics alone, and the files are not many small ones.

    Delta writes batches nearly in order: where a short one comes before the last, a row group may hold the end of one
    and the start of another.
    """
    groups = [group for fragment in fragments for group in fragment.row_groups if KEY in (group.statistics or {})]
    lows = sorted(group.statistics[KEY]["min"] for group in groups)
    highs = sorted(group.statistics[KEY]["max"] for group in groups)
    # As many hold a click_id as begin at or before it and do not end before it.
    depths = [bisect_right(lows, low) - bisect_left(highs, low) for low in lows]
    rows = sum(group.num_rows for group in groups)
    return sum(depths) <= _DEPTH * len(groups) and len(fragments) <= _DEPTH + rows // ROW_GROUP


def _sorted(dataset: ds.Dataset, of_day: Any, rows: int, table: Table) -> Iterator[pa.RecordBatch]:
    """Yield a day's rows by click_id, a range of them at a time, and raise where they are not all there."""
    edges: list[str] = []
    if rows > _ROWS:
        ids = dataset.to_table(columns=[KEY], filter=of_day)[KEY]
        sample = ids.take(pa.array(np.linspace(0, rows - 1, min(rows, _SAMPLE)).astype(np.int64)))
        sampled = sample.take(pc.sort_indices(sample))
        places = np.linspace(0, len(sampled), -(-rows // _ROWS), endpoint=False)[1:].astype(np.int64)
        edges = sorted(set(sampled.take(pa.array(places)).to_pylist()))
    seen, rest, lows, highs = 0, None, [None, *edges], [*edges, None]
    for low, high in zip(lows, highs, strict=True):
        wanted = of_day
        if low is not None:
            wanted &= ds.field(KEY) >= low
        if high is not None:
            wanted &= ds.field(KEY) < high
        part = dataset.to_table(filter=wanted)
        seen += part.num_rows
        part = part.take(pc.sort_indices(part, sort_keys=[(KEY, "ascending")]))
        part = part if rest is None else pa.concat_tables([rest, part])
        # Delta may change the order of batches: each is a row group, so that none mixes two of them.
        whole = part.num_rows if high is None else part.num_rows // ROW_GROUP * ROW_GROUP
        for start in range(0, whole, ROW_GROUP):
            yield from part.slice(start, min(ROW_GROUP, whole - start)).combine_chunks().to_batches()
        rest = part.slice(whole)
    if seen != rows:
        raise TableError(f"{table.name}: {seen} of {rows} rows were read while a day was compacted; it stays as it was")
