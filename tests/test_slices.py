from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from slidr.errors import SettingsError
from slidr.slices import ROOT, ancestors, parent, slice_path

VALUES = st.one_of(st.text(), st.booleans(), st.none(), st.integers())
COLUMNS = ["device", "logged_in", "region"]


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_a_path_has_a_level_for_each_column(values: list[object]) -> None:
    """Whatever a value holds, slashes and equals signs too, its path splits into its levels again."""
    columns = COLUMNS[: len(values)]
    path = slice_path(columns, values)
    assert [part.partition("=")[0] for part in path.split("/")] == columns
    assert len(ancestors(path)) == len(values) + 1


@given(st.lists(VALUES, min_size=3, max_size=3))
def test_ancestors_are_the_paths_of_fewer_columns(values: list[object]) -> None:
    """The slice above is the one that leaves the finest column out, up to the root."""
    expected = [slice_path(COLUMNS[:depth], values[:depth]) for depth in range(3, -1, -1)]
    assert list(ancestors(slice_path(COLUMNS, values))) == expected
    assert expected[-1] == ROOT


@given(st.text(), st.text())
@example("null", "")
@example("%6Eull", "null")
def test_different_texts_have_different_slices(one: str, other: str) -> None:
    """No two texts share a slice, unless they are a boolean or a whole number in two spellings."""
    assume(not any(text.lower() in {"true", "false"} or text.rstrip("0").endswith(".") for text in (one, other)))
    assert (slice_path(["device"], [one]) == slice_path(["device"], [other])) == (one == other)


@pytest.mark.parametrize(
    "values",
    [
        [True, None, False],
        [7, None, -3],
        [0.5, None, 7.0],
        [7.0, math.nan, -0.0],
        ["a/b", "", "null"],
        ["App", "", "7"],
    ],
)
def test_a_value_reads_the_same_from_every_format(tmp_path: Path, values: list[Any]) -> None:
    """CSV, Parquet and JSON of one table give one path each row, though their types differ."""
    table = pa.table({"shop": pa.array(values)})
    pq.write_table(table, tmp_path / "shop.parquet")
    frame = table.to_pandas()
    frame.to_csv(tmp_path / "shop.csv", index=False)
    with (tmp_path / "shop.csv").open(newline="") as lines:
        rows = [(row[0] if row else "") for row in csv.reader(lines)][1:]
    decoder = msgspec.json.Decoder(str | int | float | bool | None)
    forms = [
        values,
        rows,
        frame["shop"].tolist(),
        pq.read_table(tmp_path / "shop.parquet")["shop"].to_pylist(),
        [decoder.decode(msgspec.json.encode(value)) for value in values],
    ]
    paths = [[slice_path(["shop"], [value]) for value in form] for form in forms]
    assert paths == [paths[0]] * len(forms)


@pytest.mark.parametrize("value", [["a"], {"a": 1}, [], (1,), b"a"])
def test_a_value_of_many_is_refused(value: object) -> None:
    """A list or a struct cannot slice the traffic, and the column is named."""
    with pytest.raises(SettingsError, match=r"'shop' holds .* name another column"):
        slice_path(["shop"], [value])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        ("FALSE", "false"),
        (None, "null"),
        ("", "null"),
        (math.nan, "null"),
        ("null", "%6Eull"),
        ("a/b", "a%2Fb"),
        (7, "7"),
        (7.0, "7"),
        ("7.0", "7"),
        ("-0.0", "0"),
        ("007", "007"),
        ("1.10", "1.10"),
        (math.inf, "inf"),
    ],
)
def test_values_are_written_so_that_they_can_be_read(value: object, text: str) -> None:
    """Booleans, null, empty text and separators have one spelling each."""
    assert slice_path(["device"], [value]) == f"device={text}"


def test_the_root_has_nothing_above() -> None:
    """The root is its own only ancestor."""
    assert (slice_path([], []), ancestors(ROOT), parent(ROOT)) == (ROOT, (ROOT,), None)
    assert parent("device=app") == ROOT
    assert parent("device=app/logged_in=true") == "device=app"


def test_columns_and_values_must_match() -> None:
    """A value without a column is a fault of the caller, not a slice."""
    with pytest.raises(ValueError, match="zip"):
        slice_path(["device"], [])
