"""How rows are stored in Delta tables: their day, the version of their schema, and how Parquet is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, DeltaTable, WriterProperties
from deltalake.exceptions import DeltaError

from slidr.errors import TableError
from slidr.lake.schema import arrow_schema, conform, storable
from slidr.lake.spans import PARTITION
from slidr.tables import Table

VERSION = "slidr.version"
"""Metadata of a table's first field: the version of its schema."""


@contextmanager
def reported(address: str) -> Iterator[None]:
    """Turn an error of Delta, Arrow or the system into one that names the table.

    Raises:
        TableError: of every such error.
    """
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as fault:
        raise TableError(f"lake table {address}: {fault}") from fault


def held_version(delta: DeltaTable) -> str | None:
    """Return the version of the schema that a table was made with."""
    return next((str(kept) for field in delta.schema().fields if (kept := field.metadata.get(VERSION))), None)


def dated(table: Table, data: pa.Table, stamp: str) -> tuple[pa.Table, list[date]]:
    """Add the partition column and the schema version; return the rows and the days that occur."""
    version = {VERSION: stamp}
    fields = [field.with_metadata({**(field.metadata or {}), **version}) for field in arrow_schema(table)]
    rows = pa.table(
        [column.cast(storable(column.type)) for column in data.columns],
        schema=pa.schema([*fields, *(pa.field(name, storable(data[name].type)) for name in _further(table, data))]),
    )
    if not table.timed:
        return rows, []
    if PARTITION in data.column_names:
        raise TableError(
            f"{table.name}: the lake derives column {PARTITION!r} from time; rename yours", column=PARTITION
        )
    days = rows["time"].cast(pa.date32())
    return rows.append_column(PARTITION, days), sorted(days.unique().to_pylist())


def written(schema: pa.Schema) -> WriterProperties:
    """Return how Parquet is written: numbers rarely repeat, so dictionaries of them would only cost time and space."""
    numbers = [field.name for field in schema if pa.types.is_floating(field.type)]
    plain = ColumnProperties(dictionary_enabled=False)
    return WriterProperties(compression="ZSTD", compression_level=1, column_properties=dict.fromkeys(numbers, plain))


def _further(table: Table, data: pa.Table) -> list[str]:
    return [name for name in data.column_names if name not in table.names]


def refuse_other_days(table: Table, rows: pa.Table, day: date) -> None:
    """Raise TableError where a row is not of this day."""
    outside = np.flatnonzero(pc.not_equal(rows[PARTITION], pa.scalar(day, pa.date32())).to_numpy())
    if len(outside):
        row = int(outside[0])
        value = rows["time"][row].as_py()
        raise TableError(
            f"{table.name}.time, row {row}: {value} is not on {day} UTC; pass the rows of that day alone",
            column="time",
            row=row,
            value=value,
        )


def predicate(days: list[date]) -> str:
    """Return the condition for rows of these days, as Delta reads it."""
    return f"{PARTITION} IN ({', '.join(repr(day.isoformat()) for day in days)})"


def days_of(delta: DeltaTable) -> list[date]:
    """Return the days that a table holds, in order."""
    return sorted(date.fromisoformat(part[PARTITION]) for part in delta.partitions())


def of_day(data: pa.Table, day: date) -> pa.Table:
    """Return the rows of a day."""
    return data.filter(pc.equal(data["time"].cast(pa.date32()), pa.scalar(day, pa.date32())))


def same(one: pa.Table, other: pa.Table, key: str) -> bool:
    """Return whether two tables hold the same rows, in whatever order."""
    order = [(key, "ascending"), ("time", "ascending")]
    return (
        one.num_rows == other.num_rows
        and set(one.column_names) == set(other.column_names)
        and bool(one.sort_by(order).select(other.column_names).equals(other.sort_by(order)))
    )


def shaped(table: Table, found: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """Return rows as a reader wants them: conforming to the table, or the columns that were asked for."""
    return conform(table, found) if columns is None else found.replace_schema_metadata(None)
