from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.tables import CLICKS, EXAMPLES, LABELS, PURCHASES, TABLES, THRESHOLDS, Rejections, Table, Verdict

KEYS = st.tuples(st.sampled_from(["ip", "time"]), st.sampled_from(["null", "not a time"]))
ROWS = st.lists(st.tuples(st.integers(0, 99), st.text(max_size=3)), min_size=1, max_size=8)
REJECTIONS = st.lists(st.tuples(KEYS, ROWS), max_size=4).map(
    lambda drawn: sum((Rejections.of(*key, rows) for key, rows in drawn), Rejections())
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_declared_in_full(table: Table) -> None:
    """A column has a meaning, times are in microseconds, money is in micros, and no name occurs twice."""
    assert len(set(table.names)) == len(table.names)
    assert table.version >= 1
    for column in table.columns:
        assert column.meaning
        assert (column.unit == "us") == column.type.startswith("timestamp")
        assert (column.unit == "micros") == (column.name in {"cost", "value"})


def test_tables_have_names_of_their_own() -> None:
    """No two tables share a name, which is their place in the lake."""
    assert len({table.name for table in TABLES}) == len(TABLES)


def test_a_column_is_found_by_its_name() -> None:
    """A name gives its declaration; an unknown name is a KeyError."""
    assert CLICKS.column("cost").unit == "micros"
    with pytest.raises(KeyError, match="costs"):
        CLICKS.column("costs")


def test_tables_know_whether_they_have_times() -> None:
    """Thresholds have no time, labels do."""
    assert LABELS.timed
    assert not THRESHOLDS.timed


@pytest.mark.parametrize("name", [name for name in CLICKS.names if len(name) > 3])
def test_a_misspelling_of_any_column_is_noticed(name: str) -> None:
    """One letter lost is noticed while the column is absent, and not once it is there."""
    misspelt = name[:2] + name[3:]
    assert CLICKS.misspelt([misspelt]) == (misspelt, name)
    assert CLICKS.misspelt([misspelt, name]) is None


@pytest.mark.parametrize(
    "name", ["region", "os", "app", "channel", "path", "status", "referrer", "method", "session_length"]
)
def test_ordinary_further_columns_are_not_misspellings(name: str) -> None:
    """A further column may have any name that is not almost ours."""
    assert CLICKS.misspelt([name]) is None


@given(REJECTIONS, REJECTIONS, REJECTIONS)
def test_rejections_add_up(one: Rejections, two: Rejections, three: Rejections) -> None:
    """Merging is associative, has a zero, and loses no row."""
    assert (one + two) + three == one + (two + three)
    assert one + Rejections() == one == Rejections() + one
    assert (one + two).total == one.total + two.total


@given(REJECTIONS)
def test_examples_are_few_and_every_reason_has_some(rejections: Rejections) -> None:
    """However many rows are rejected, at most five a reason are kept, and each reason gets its line."""
    assert set(rejections.counts) == set(rejections.examples)
    assert all(1 <= len(rows) <= EXAMPLES for rows in rejections.examples.values())
    assert len(rejections.summary()) == len(rejections.counts)


def test_the_summary_begins_with_the_most_frequent_and_cuts_long_values() -> None:
    """A reader sees the worst first, in lines that fit a screen."""
    rejections = Rejections.of("ip", "null", [(0, None)]) + Rejections.of(
        "time", "not a time", [(1, "x" * 500)], count=9
    )
    first, second = rejections.summary()
    assert first.startswith("time: not a time: 9 rows, such as row 1 'xxx")
    assert len(first) < 120
    assert second == "ip: null: 1 row, such as row 0 None"


def test_verdicts_are_the_words_of_the_decisions_table() -> None:
    """A verdict compares equal to its word, as it stands in a file."""
    assert Verdict("unmeasurable") is Verdict.UNMEASURABLE
    assert [verdict.value for verdict in Verdict] == [
        "valid",
        "invalid_general",
        "invalid_sophisticated",
        "unmeasurable",
    ]


def test_purchases_are_closed_and_clicks_are_open() -> None:
    """Clicks carry further columns for slices; purchases have no use for any."""
    assert CLICKS.open
    assert not PURCHASES.open
