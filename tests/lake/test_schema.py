from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from slidr.errors import TableError
from slidr.lake.schema import arrow_schema, arrow_type, conform
from slidr.tables import CLICKS, LABELS, SCORES, TABLES, Table

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def scores(**changed: object) -> pa.Table:
    """Return two rows of SCORES, with columns replaced."""
    columns: dict[str, object] = {"click_id": ["a", "b"], "time": [NOON, NOON], "score": [0.25, 0.75]}
    return pa.table({**columns, **changed})


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_declared_type_is_arrows_own_name_for_it(table: Table) -> None:
    """The type written in a declaration is what Arrow prints, so the page of tables and the files agree."""
    assert [str(arrow_type(column)) for column in table.columns] == [
        {"float32": "float", "float64": "double"}.get(column.type, column.type) for column in table.columns
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_schemas_carry_version_units_and_meanings(table: Table) -> None:
    """A reader of the files alone learns what every column means."""
    schema = arrow_schema(table)
    assert schema.metadata == {b"slidr.table": table.name.encode(), b"slidr.version": str(table.version).encode()}
    for column in table.columns:
        metadata = schema.field(column.name).metadata or {}
        assert (metadata[b"unit"].decode(), metadata[b"meaning"].decode()) == (column.unit, column.meaning)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_empty_table_conforms_to_itself(table: Table) -> None:
    """Conforming an empty table changes nothing."""
    empty = arrow_schema(table).empty_table()
    assert conform(table, empty).schema.equals(arrow_schema(table), check_metadata=True)


def test_conform_orders_and_casts() -> None:
    """Columns come back in our order and types, whatever the order and width given."""
    data = scores(score=pa.array([0.25, 0.75], pa.float64())).select(["score", "time", "click_id"])
    conformed = conform(SCORES, data)
    assert conformed.schema.equals(arrow_schema(SCORES), check_metadata=True)
    assert conform(SCORES, conformed).equals(conformed)


def test_open_tables_keep_further_columns_after_ours() -> None:
    """A further column of an open table follows unchanged, and its absent nullable columns read null."""
    data = pa.table({"region": ["north"], "time": [NOON], "click_id": ["a"]})
    conformed = conform(CLICKS, data)
    assert conformed.column_names == [*CLICKS.names, "region"]
    assert conformed["user"].to_pylist() == [None]


def test_metadata_of_the_data_are_kept() -> None:
    """What a writer notes beside the schema, such as a catalogue's hash, survives."""
    data = scores().replace_schema_metadata({"slidr.catalogue": "abc"})
    assert (conform(SCORES, data).schema.metadata or {})[b"slidr.catalogue"] == b"abc"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (scores().drop_columns(["score"]).append_column("scores", pa.array([0.0, 1.0])), "did you mean 'scores'"),
        (scores().drop_columns(["score"]), "'score' is missing; known: click_id, time"),
        (scores(extra=[1, 2]), "'extra' does not belong here"),
        (scores(time=[NOON, None]), "scores.time, row 1: null"),
        (scores(score=["0.5", "x"]), r"scores.score, row 1: 'x' \(string\) is not float"),
        (scores(time=[dt.datetime(2026, 3, 2), None]), "a time needs a zone"),  # noqa: DTZ001 - the fault itself
    ],
    ids=["misspelt", "missing", "further", "null", "uncastable", "zoneless"],
)
def test_what_does_not_fit_is_refused_by_column_row_and_value(data: pa.Table, message: str) -> None:
    """The message names the column, and the row and value where one is at fault."""
    with pytest.raises(TableError, match=message):
        conform(SCORES, data)


def test_the_error_carries_column_row_and_value() -> None:
    """A program can read where the fault is, not only a person."""
    with pytest.raises(TableError) as caught:
        conform(SCORES, scores(score=["0.5", "x"]))
    assert (caught.value.column, caught.value.row, caught.value.value) == ("score", 1, "x")


def test_a_misspelt_nullable_column_is_not_lost() -> None:
    """A further column that almost has one of our names is refused rather than read as null."""
    with pytest.raises(TableError, match="'campain' is not known; did you mean 'campaign'"):
        conform(CLICKS, pa.table({"click_id": ["a"], "time": [NOON], "campain": ["x"]}))


def test_a_column_that_occurs_twice_is_refused() -> None:
    """Two columns of one name leave no way to tell which is meant."""
    data = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["click_id", "click_id"])
    with pytest.raises(TableError, match="'click_id' occurs more than once"):
        conform(LABELS, data)
