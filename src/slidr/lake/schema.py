"""Arrow schemas of slidr's tables, and the strict check that a table follows one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.errors import TableError, nearest
from slidr.tables import Column, Table

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date32[day]": pa.date32(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC"),
    "list<item: string>": pa.list_(pa.string()),
}


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a declared column."""
    return _TYPES[column.type]


def storable(kind: pa.DataType) -> pa.DataType:
    """Return the type that Delta can hold in the place of this one: it has neither untyped nulls nor dictionaries."""
    if pa.types.is_null(kind):
        return pa.string()
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def arrow_field(column: Column) -> pa.Field[Any]:
    """Return a declared column as a field of an Arrow schema; the metadata hold its unit and meaning."""
    metadata = {"unit": column.unit, "meaning": column.meaning}
    return pa.field(column.name, arrow_type(column), nullable=column.nullable, metadata=metadata)


def nulls(column: Column, rows: int) -> pa.Array[Any]:
    """Return a declared column that holds only nulls."""
    return pa.nulls(rows).cast(arrow_type(column))


def arrow_schema(table: Table) -> pa.Schema:
    """Return a table's Arrow schema; the metadata hold its name and version, and each column's unit and meaning.

    >>> from slidr.tables import SCORES
    >>> arrow_schema(SCORES).field("score").type
    DataType(float)
    >>> arrow_schema(SCORES).metadata[b"slidr.version"]
    b'1'
    """
    fields = [arrow_field(column) for column in table.columns]
    return pa.schema(fields, metadata={"slidr.table": table.name, "slidr.version": str(table.version)})


def conform(table: Table, data: pa.Table) -> pa.Table:
    """Return the data with our columns in our order and types; further columns of an open table follow unchanged.

    An absent column that may be null is filled with nulls. Metadata of the data's schema are kept.

    Raises:
        TableError: a column is missing or misspelt (the nearest is suggested), cannot be cast, or holds a null where
            none may be; or a closed table has a further column.
    """
    refuse_unfit(table, data.column_names)
    schema = arrow_schema(table)
    columns = [
        _cast(table, column, data.column(column.name))
        if column.name in data.column_names
        else pa.chunked_array([nulls(column, data.num_rows)])
        for column in table.columns
    ]
    further = [field for field in data.schema if field.name not in table.names]
    metadata: dict[Any, Any] = {**(data.schema.metadata or {}), **(schema.metadata or {})}
    return pa.Table.from_arrays(
        [*columns, *(data.column(field.name) for field in further)],
        schema=pa.schema([*schema, *further], metadata=metadata),
    )


def refuse_unfit(table: Table, present: list[str]) -> None:
    """Raise TableError where the names of the columns present do not fit the table."""
    for name in present:
        if present.count(name) > 1:
            raise TableError(f"{table.name}: column {name!r} occurs more than once; rename one", column=name)
    for column in table.columns:
        if not column.nullable and column.name not in present:
            raise TableError(
                f"{table.name}: column {column.name!r} is missing; {nearest(column.name, present)}", column=column.name
            )
    misspelt = table.misspelt(present)
    if misspelt:
        raise TableError(
            f"{table.name}: column {misspelt[0]!r} is not known; did you mean {misspelt[1]!r}? Rename it",
            column=misspelt[0],
        )
    for name in present:
        if not table.open and name not in table.names:
            raise TableError(f"{table.name}: column {name!r} does not belong here; drop it", column=name)


def _cast(table: Table, column: Column, values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    goal = arrow_type(column)
    where = f"{table.name}.{column.name}"
    if pa.types.is_timestamp(goal) and not _is_zoned(values.type):
        raise TableError(f"{where} is {values.type}; a time needs a zone, as in {goal}", column=column.name)
    try:
        cast = values if values.type == goal else values.cast(goal)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row, value = _first_fault(values, goal)
        raise TableError(
            f"{where}, row {row}: {value!r} ({values.type}) is not {goal}; cast the column first",
            column=column.name,
            row=row,
            value=value,
        ) from None
    if cast.null_count and not column.nullable:
        row = int(np.flatnonzero(pc.is_null(cast).to_numpy())[0])
        raise TableError(f"{where}, row {row}: null, but every row needs a value", column=column.name, row=row)
    return cast


def _is_zoned(kind: pa.DataType) -> bool:
    return bool(pa.types.is_null(kind) or (pa.types.is_timestamp(kind) and kind.tz is not None))


def _first_fault(values: pa.ChunkedArray[Any], goal: pa.DataType) -> tuple[int, object]:
    """Find the first value that cannot be cast, by halving."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            values.slice(low, middle - low).cast(goal)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
        else:
            low = middle
    return low, values[low].as_py() if len(values) else None
