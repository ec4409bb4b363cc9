"""The lake: one Delta table for each of slidr's tables, by UTC day where it has times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from slidr.clock import DAY, SECOND
from slidr.errors import TableError, nearest
from slidr.lake.schema import arrow_schema, conform
from slidr.tables import Table

_DAY = "day"
_VERSION = "slidr.version"


class Lake:
    """Delta tables under one folder or object-store address; readable by Spark, DuckDB, Polars and any Delta reader.

    A table with a `time` column is partitioned by `day`, a UTC date derived from it. The table's schema version is
    kept in the metadata of its first field, so that it is committed together with the rows.

    Args:
        root: folder or address, such as `s3://bucket/lake`.
        storage_options: credentials and options of the object store, as `deltalake` takes them.
    """

    def __init__(self, root: str, storage_options: dict[str, str] | None = None) -> None:
        self._root = root.rstrip("/")
        self._storage_options = storage_options

    def write(self, table: Table, data: pa.Table, *, day: date | None = None) -> None:
        """Replace one UTC day of a table in one commit; writing the same rows twice leaves the same rows.

        Without a day, every day that occurs in the data is replaced, still in one commit. A table without times is
        replaced whole.

        Raises:
            TableError: the data do not follow the table, hold a time outside the day, or the lake holds another
                schema version of the table.
        """
        rows, days = _dated(table, conform(table, data))
        if day is not None and table.timed:
            _refuse_other_days(table, rows, day)
            days = [day]
        with self._faults(table):
            delta = self._open(table) if self.exists(table) else None
            if delta is None or not table.timed:
                self._commit(table, rows, mode="overwrite")
            elif rows.num_rows:
                self._commit(table, rows, mode="overwrite", predicate=_predicate(days))
            elif days:
                delta.delete(_predicate(days))

    def merge(self, table: Table, data: pa.Table) -> None:
        """Add rows to the UTC days on which they lie; a row of the same identifier there is replaced.

        Only those days are read and written, in one commit, and their other rows stay. An identifier that lies on
        another day stays there too. Merging the same rows twice leaves what merging them once does.

        Raises:
            TableError: the data do not follow the table, a further column has another type there, the table has no
                times, or the lake holds another schema version of it.
        """
        if not table.timed:
            raise TableError(f"{table.name} has no times and so no days to merge into; write it whole")
        rows, days = _dated(table, conform(table, data))
        if days and self.exists(table):
            rows = rows.drop_columns([_DAY])
            identifier = _identifier(table)
            with self._faults(table):
                dataset = self._open(table).to_pyarrow_dataset()
                names = [name for name in dataset.schema.names if name != _DAY]
                touched: Any = ds.field(_DAY).isin(pa.array(days, pa.date32()))
                held = dataset.to_table(names, filter=touched)
                replaced = pc.is_in(held[identifier], value_set=rows[identifier].combine_chunks())
                data = pa.concat_tables([held.filter(pc.invert(replaced)), rows], promote_options="permissive")
        self.write(table, data)

    def append(self, table: Table, data: pa.Table) -> None:
        """Add rows to a table in one commit.

        Raises:
            TableError: the data do not follow the table, or the lake holds another schema version of it.
        """
        rows, _ = _dated(table, conform(table, data))
        with self._faults(table):
            if self.exists(table):
                self._open(table)
            self._commit(table, rows, mode="append")

    def read(
        self,
        table: Table,
        *,
        start: int | None = None,
        end: int | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Return rows with start <= time < end (microseconds), by time and then by identifier.

        Args:
            table: what to read; one without times is returned as it was written.
            start: first instant; None for no bound.
            end: instant after the last; None for no bound.
            columns: names wanted, in this order; None for all.
            version: Delta version, to read exactly what an earlier reader read; None for the newest.

        Raises:
            TableError: the table or a column does not exist, or the lake holds another schema version.
        """
        with self._faults(table):
            delta = self._open(table, version)
            dataset = delta.to_pyarrow_dataset()
            names = [name for name in dataset.schema.names if name != _DAY or not table.timed]
            wanted = names if columns is None else list(columns)
            for name in wanted:
                if name not in names:
                    raise TableError(f"{table.name} has no column {name!r}; {nearest(name, names)}", column=name)
            if not table.timed:
                found = dataset.to_table(columns=wanted)
            else:
                keys = [name for name in ("time", _identifier(table)) if name not in wanted]
                bounds = [day for day in _days(delta) if _overlaps(day, start, end)]
                parts = [_day_rows(dataset, day, (start, end), [*wanted, *keys], table) for day in bounds]
                empty = dataset.schema.empty_table().select([*wanted, *keys])
                found = pa.concat_tables([empty, *parts]).select(wanted)
        return conform(table, found) if columns is None else found.replace_schema_metadata(None)

    def exists(self, table: Table) -> bool:
        """Return whether the table was ever written."""
        return DeltaTable.is_deltatable(self.address(table), self._storage_options)

    def days(self, table: Table) -> list[date]:
        """Return the UTC days that the table holds, in order; none where the table does not exist or has no times."""
        if not table.timed or not self.exists(table):
            return []
        with self._faults(table):
            return _days(self._open(table))

    def version(self, table: Table) -> int:
        """Return the Delta version of the table, which names its contents for good.

        Raises:
            TableError: the table does not exist.
        """
        with self._faults(table):
            return self._open(table).version()

    def address(self, table: Table) -> str:
        """Return where the table's Delta files lie."""
        return f"{self._root}/{table.name}"

    def _open(self, table: Table, version: int | None = None) -> DeltaTable:
        where = self.address(table)
        if not self.exists(table):
            raise TableError(f"the lake has no table {table.name!r} at {where}; write it first")
        delta = DeltaTable(where, version=version, storage_options=self._storage_options)
        held = next((kept for field in delta.schema().fields if (kept := field.metadata.get(_VERSION))), None)
        if held != str(table.version):
            raise TableError(
                f"{where} has schema version {held or 'unknown'}, this slidr writes and reads version {table.version}; "
                "rebuild the table, or use the slidr that wrote it"
            )
        return delta

    def _commit(self, table: Table, rows: pa.Table, **how: Any) -> None:
        write_deltalake(
            self.address(table),
            rows,
            name=table.name,
            partition_by=[_DAY] if table.timed else None,
            # Further columns of an open table may come and go between days.
            schema_mode="merge" if table.timed or how["mode"] == "append" else "overwrite",
            storage_options=self._storage_options,
            **how,
        )

    @contextmanager
    def _faults(self, table: Table) -> Iterator[None]:
        try:
            yield
        except (DeltaError, OSError, pa.ArrowException) as fault:
            raise TableError(f"lake table {self.address(table)}: {fault}") from fault


def _dated(table: Table, data: pa.Table) -> tuple[pa.Table, list[date]]:
    """Add the partition column and the schema version; return the rows and the days that occur."""
    version = {_VERSION: str(table.version)}
    fields = [field.with_metadata({**(field.metadata or {}), **version}) for field in arrow_schema(table)]
    rows = pa.table(
        [_storable(column) for column in data.columns],
        schema=pa.schema([*fields, *(_storable_field(data.schema.field(name)) for name in _further(table, data))]),
    )
    if not table.timed:
        return rows, []
    if _DAY in data.column_names:
        raise TableError(f"{table.name}: the lake derives column {_DAY!r} from time; rename yours", column=_DAY)
    days = rows["time"].cast(pa.date32())
    return rows.append_column(_DAY, days), sorted(days.unique().to_pylist())


def _further(table: Table, data: pa.Table) -> list[str]:
    return [name for name in data.column_names if name not in table.names]


def _storable(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    return column.cast(_storable_type(column.type))


def _storable_field(field: pa.Field[Any]) -> pa.Field[Any]:
    return pa.field(field.name, _storable_type(field.type))


def _storable_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that Delta can hold: it has neither nulls without a type nor dictionaries."""
    if pa.types.is_null(kind):
        return pa.string()
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def _refuse_other_days(table: Table, rows: pa.Table, day: date) -> None:
    outside = np.flatnonzero(pc.not_equal(rows[_DAY], pa.scalar(day, pa.date32())).to_numpy())
    if len(outside):
        row = int(outside[0])
        value = rows["time"][row].as_py()
        raise TableError(
            f"{table.name}.time, row {row}: {value} is not on {day} UTC; pass the rows of that day alone",
            column="time",
            row=row,
            value=value,
        )


def _predicate(days: list[date]) -> str:
    return f"{_DAY} IN ({', '.join(repr(day.isoformat()) for day in days)})"


def _days(delta: DeltaTable) -> list[date]:
    return sorted(date.fromisoformat(part[_DAY]) for part in delta.partitions())


def _overlaps(day: date, start: int | None, end: int | None) -> bool:
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND
    return (start is None or start < midnight + DAY) and (end is None or midnight < end)


def _instant(time: int) -> pa.Scalar[Any]:
    return pa.scalar(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time), pa.timestamp("us", tz="UTC"))


def _identifier(table: Table) -> str:
    """Return the column that orders rows of one time: the click where every row has one."""
    names = [column.name for column in table.columns if column.name == "click_id" and not column.nullable]
    return (*names, table.columns[0].name)[0]


def _day_rows(
    dataset: ds.Dataset, day: date, bounds: tuple[int | None, int | None], columns: list[str], table: Table
) -> pa.Table:
    """Read one day, which bounds the memory that sorting takes."""
    wanted: Any = ds.field(_DAY) == pa.scalar(day, pa.date32())
    start, end = bounds
    if start is not None:
        wanted &= ds.field("time") >= _instant(start)
    if end is not None:
        wanted &= ds.field("time") < _instant(end)
    rows = dataset.to_table(columns=columns, filter=wanted)
    steps = np.diff(rows["time"].cast(pa.int64()).to_numpy())
    if (steps > 0).all():
        return rows
    return rows.take(pc.sort_indices(rows, sort_keys=[("time", "ascending"), (_identifier(table), "ascending")]))
