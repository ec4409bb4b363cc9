"""The lake: one Delta table for each of slidr's tables, by UTC day where it has times."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import date
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from slidr.datasets import dataset_of
from slidr.errors import TableError, nearest
from slidr.lake.handover import handed_over
from slidr.lake.schema import arrow_field, arrow_schema, conform
from slidr.lake.spans import PARTITION, Bounds, identifier, overlaps, span_rows, spans
from slidr.lake.stored import (
    dated,
    days_of,
    held_version,
    of_day,
    predicate,
    refuse_other_days,
    reported,
    same,
    shaped,
    written,
)
from slidr.tables import Table

_ROWS = 262_144
"""Rows that `batches` reads at once."""
_ATTEMPTS = 5  # of a commit, where others come between


class Content(NamedTuple):
    """What one UTC day of a table holds: a hash that changes whenever the day is written, and how many rows."""

    hash: str
    rows: int


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

    def write(self, table: Table, data: pa.Table, *, day: date | None = None, seen: int | None = None) -> None:
        """Replace one UTC day of a table in one commit; writing the same rows twice leaves the same rows.

        Without a day, every day that occurs in the data is replaced, still in one commit. A table without times is
        replaced whole. `seen` is the Delta version that the caller has looked at: what was written to those days since
        is not replaced.

        Raises:
            TableError: the data do not follow the table, hold a time outside the day, or the lake holds another
                schema version of the table; or the days were written to since the version seen.
        """
        rows, days = dated(table, conform(table, data), self._stamp(table))
        if day is not None and table.timed:
            refuse_other_days(table, rows, day)
            days = [day]
        with self._faults(table):
            delta = self.open(table, seen) if self.exists(table) else None
            if delta is None or not table.timed:
                self._commit(table, rows, mode="overwrite")
            elif rows.num_rows:
                self._commit(table, rows, delta, mode="overwrite", predicate=predicate(days))
            elif days:
                delta.delete(predicate(days))

    def merge(self, table: Table, data: pa.Table) -> None:
        """Add rows to the UTC days on which they lie; a row of the same identifier there is replaced.

        Only those days are read and written, in one commit, and their other rows stay. An identifier that lies on
        another day stays there too. A day that already holds the rows is not written again.

        Raises:
            TableError: the data do not follow the table, a further column has another type there, the table has no
                times, or the lake holds another schema version of it.
        """
        if not table.timed:
            raise TableError(f"{table.name} has no times and so no days to merge into; write it whole")
        rows, days = dated(table, conform(table, data), self._stamp(table))
        if days and self.exists(table):
            rows = rows.drop_columns([PARTITION])
            key = identifier(table)
            with self._faults(table):
                dataset = dataset_of(self.open(table))
                names = [name for name in dataset.schema.names if name != PARTITION]
                touched: Any = ds.field(PARTITION).isin(pa.array(days, pa.date32()))
                held = dataset.to_table(names, filter=touched)
                replaced = pc.is_in(held[key], value_set=rows[key].combine_chunks())
                data = pa.concat_tables([held.filter(pc.invert(replaced)), rows], promote_options="permissive")
                changed = [day for day in days if not same(of_day(held, day), of_day(data, day), key)]
            if not changed:
                return
            data = data.filter(pc.is_in(data["time"].cast(pa.date32()), pa.array(changed, pa.date32())))
        self.write(table, data)

    @contextmanager
    def replacing(self, table: Table, day: date) -> Iterator[Callable[[pa.Table], None]]:
        """Replace one UTC day of a table by parts, in one commit at the end of the block, and not at all if it fails.

            with lake.replacing(FEATURES, day) as add:
                add(part)

        The parts are written while the block goes on and only a few are held, so that a day of any size fits. All
        have the columns of the first. A block that adds nothing leaves the day empty.

        Raises:
            TableError: as `write` does.
        """

        def consume(parts: Iterator[pa.Table]) -> None:
            part = next(parts, None)
            if part is None:
                self.write(table, arrow_schema(table).empty_table(), day=day)
                return

            def batches() -> Iterator[pa.RecordBatch]:
                for rows in chain([part], parts):
                    yield from rows.to_batches()

            with self._faults(table):
                how: dict[str, Any] = {"predicate": predicate([day])} if self.exists(table) and self.open(table) else {}
                reader = pa.RecordBatchReader.from_batches(part.schema, batches())
                self._commit(table, reader, mode="overwrite", **how)

        first: list[pa.Schema] = []
        stamp = self._stamp(table)
        with handed_over(consume) as give:

            def add(part: pa.Table) -> None:
                rows, _ = dated(table, conform(table, part), stamp)
                refuse_other_days(table, rows, day)
                if not first:
                    first.append(rows.schema)
                if rows.schema != first[0]:
                    raise TableError(f"{table.name}: a part of {day} has other columns or types than the first part")
                give(rows)

            yield add

    def append(
        self, table: Table, data: pa.Table, transaction: tuple[str, int] | None = None, *, after: int | None = None
    ) -> bool:
        """Add rows to a table in one commit; returns whether they were added.

        Args:
            table: what they are rows of.
            data: the rows.
            transaction: an application's name and the number of this commit, which is kept with the rows. They are
                added only where the application's last number in the table is smaller, so that nothing lands twice,
                however often and by how many writers at once it is tried.
            after: what the application's last number has to be, 0 where it has none, for rows that follow on what
                was committed under it; None: any smaller one.

        Raises:
            TableError: the data do not follow the table, or the lake holds another schema version of it.
        """
        rows, _ = dated(table, conform(table, data), self._stamp(table))
        with self._faults(table):
            if transaction is None:
                if self.exists(table):
                    self.open(table)
                self._commit(table, rows, mode="append")
                return True
            return self._append_once(table, rows, transaction, after)

    def _append_once(self, table: Table, rows: pa.Table, transaction: tuple[str, int], after: int | None) -> bool:
        application, number = transaction
        if not self.exists(table):
            # An empty table first: of two writers that make it one fails, and could not tell why.
            with suppress(DeltaError):
                self._commit(table, rows.slice(0, 0), mode="error")
        for left in reversed(range(_ATTEMPTS)):
            delta = self.open(table)
            held = delta.transaction_version(application) or 0
            if held >= number or after not in {None, held}:
                return False
            named = CommitProperties(app_transactions=[Transaction(application, number)])
            try:
                self._commit(table, rows, delta, mode="append", commit_properties=named)
            except CommitFailedError:
                # Another commit came between: under this name, or one that changed the table.
                if not left:
                    raise
            else:
                return True
        return False

    def transaction(self, table: Table, application: str) -> int | None:
        """Return the number of an application's last commit to a table; None where it has none, or there is no table.

        Raises:
            TableError: the table cannot be read.
        """
        if not self.exists(table):
            return None
        with self._faults(table):
            return self.open(table).transaction_version(application)

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
            dataset, wanted, days = self.dataset(table, (start, end), columns, version)
            if table.timed:
                empty = dataset.schema.empty_table().select(wanted)
                parts = (span_rows(dataset, day, (start, end), wanted, table) for day in days)
                found = pa.concat_tables([empty, *parts])
            else:
                found = dataset.to_table(columns=wanted)
        return shaped(table, found, columns)

    def batches(
        self,
        table: Table,
        *,
        start: int | None = None,
        end: int | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        rows: int = _ROWS,
    ) -> Iterator[pa.Table]:
        """Yield what `read` returns of a table with times, in that order, in tables of about `rows` rows.

        A day is cut between seconds, so a table is longer where a single second holds more rows.

        Raises:
            TableError: as `read` does.
        """
        with self._faults(table):
            dataset, wanted, days = self.dataset(table, (start, end), columns, version)
            for day in days:
                for span in spans(dataset, day, (start, end), rows):
                    found = span_rows(dataset, day, span, wanted, table)
                    if found.num_rows:
                        yield shaped(table, found, columns)

    def exists(self, table: Table) -> bool:
        """Return whether the table was ever written."""
        return DeltaTable.is_deltatable(self.address(table), self._storage_options)

    def days(self, table: Table) -> list[date]:
        """Return the UTC days that the table holds, in order; none where the table does not exist or has no times."""
        if not table.timed or not self.exists(table):
            return []
        with self._faults(table):
            return days_of(self.open(table))

    def contents(self, table: Table, *, version: int | None = None) -> dict[date, Content]:
        """Return what each UTC day of a table holds, in their order; nothing where the table does not exist.

        Only Delta's log is read. The files of a day are never changed, only replaced, so their names tell the content.
        """
        if not self.exists(table):
            return {}
        with self._faults(table):
            files = pa.table(self.open(table, version).get_add_actions(flatten=True))
            names = files.select([f"partition.{PARTITION}", "path", "num_records"]).sort_by("path").to_pylist()
        by_day: dict[date, list[tuple[str, int]]] = {}
        for day, path, rows in (row.values() for row in names):
            by_day.setdefault(day, []).append((path, rows or 0))
        return {
            day: Content(
                hashlib.sha256("\n".join(path for path, _ in held).encode()).hexdigest()[:16],
                sum(rows for _, rows in held),
            )
            for day, held in sorted(by_day.items())
        }

    def version(self, table: Table) -> int:
        """Return the Delta version of the table, which names its contents for good.

        Raises:
            TableError: the table does not exist.
        """
        with self._faults(table):
            return self.open(table).version()

    def address(self, table: Table) -> str:
        """Return where the table's Delta files lie."""
        return f"{self._root}/{table.name}"

    def open(self, table: Table, version: int | None = None) -> DeltaTable:
        """Return the table as Delta has it, at a version or as it is now.

        Raises:
            TableError: it does not exist, or is of another schema version.
        """
        where = self.address(table)
        if not self.exists(table):
            raise TableError(f"the lake has no table {table.name!r} at {where}; write it first")
        delta = DeltaTable(where, version=version, storage_options=self._storage_options)
        held = held_version(delta)
        if not table.reads(held):
            raise TableError(
                f"{where} has schema version {held or 'unknown'}, this slidr writes and reads version {table.version}; "
                "rebuild the table, or use the slidr that wrote it"
            )
        return delta

    def _stamp(self, table: Table) -> str:
        """Return the schema version to write rows under: the table's own where it exists, for Delta keeps it."""
        with self._faults(table):
            return str((self.exists(table) and held_version(self.open(table))) or table.version)

    def dataset(
        self,
        table: Table,
        bounds: Bounds,
        columns: Sequence[str] | None,
        version: int | None,
    ) -> tuple[ds.Dataset, list[str], list[date]]:
        """Return the files of a table as one dataset, the columns wanted, and the days within the bounds.

        Raises:
            TableError: the table or a column does not exist, or the lake holds another schema version.
        """
        delta = self.open(table, version)
        dataset = dataset_of(delta)
        absent = [arrow_field(column) for column in table.columns if column.name not in dataset.schema.names]
        if absent:
            # Written under an older version, which had them not: they read as null.
            dataset = dataset.replace_schema(pa.schema([*dataset.schema, *absent]))
        names = [name for name in dataset.schema.names if name != PARTITION or not table.timed]
        wanted = names if columns is None else list(columns)
        for name in wanted:
            if name not in names:
                raise TableError(f"{table.name} has no column {name!r}; {nearest(name, names)}", column=name)
        days = [day for day in days_of(delta) if overlaps(day, bounds)] if table.timed else []
        return dataset, wanted, days

    def _commit(
        self, table: Table, rows: pa.Table | pa.RecordBatchReader, delta: DeltaTable | None = None, **how: Any
    ) -> None:
        write_deltalake(
            delta or self.address(table),
            rows,
            name=table.name,
            partition_by=[PARTITION] if table.timed else None,
            # Further columns of an open table may come and go between days.
            schema_mode="overwrite" if how["mode"] == "overwrite" and not table.timed else "merge",
            storage_options=None if delta else self._storage_options,
            writer_properties=written(rows.schema),
            **how,
        )

    def _faults(self, table: Table) -> AbstractContextManager[None]:
        return reported(self.address(table))
