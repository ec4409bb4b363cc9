from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
def test_different_texts_have_different_slices(one: str, other: str) -> None:
    """No two values share a slice, except that a text may read like null or a boolean."""
    assert (slice_path(["device"], [one]) == slice_path(["device"], [other])) == (one == other)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (None, "null"), ("a/b", "a%2Fb"), ("", "''"), (7, "7")]
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
