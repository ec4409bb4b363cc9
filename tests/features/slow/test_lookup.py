"""Looking slow features up: which table a click reads, and what stands where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.slow.days import KEY, LAYOUT, build_days, click, clicks_of, obvious, one_day, random_days

from slidr.clock import DAY, HOUR, SECOND
from slidr.features.catalogue import Clicks, PeakDistinct, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.slow import NOT_KNOWN, SlowTables, fill_slow
from slidr.features.slow.lookup import _read


def rows_of(tables: SlowTables | None, clicks: ClickBatch, layout: Layout = LAYOUT) -> list[list[float]]:
    """Return the slow features of clicks."""
    rows = np.full((len(clicks), len(layout.names)), np.nan, np.float32)
    fill_slow(tables, layout, clicks, rows)
    found: list[list[float]] = rows[:, [column.column_of_row for column in layout.slow]].tolist()
    return found


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(1, 5), st.integers(1, 3))
def test_rows_equal_the_reference(
    tmp_path_factory: pytest.TempPathFactory, seed: int, clicks: int, days: int, first: int
) -> None:
    """A click of day d has the highest hourly sets of values of the days before, as far as tables know them."""
    folder = tmp_path_factory.mktemp("slow")
    history = random_days(seed, clicks, days)
    build_days(folder, history, days, first=first)
    tables = SlowTables(folder, 2 * DAY, KEY)
    asked = random_days(seed, 30, days + 1)
    built = set(range(first, days + 1))
    for row, key, time in zip(rows_of(tables, asked), asked.keys.T.tolist(), asked.times.tolist(), strict=True):
        day = time // DAY
        assert row == (obvious(LAYOUT, history, key, day, built) if day - 1 in built else [NOT_KNOWN] * 3)


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 199])
def test_rows_do_not_depend_on_the_batch(tmp_path: Path, chunk: int) -> None:
    """Clicks of several days have the same rows at once and in batches."""
    history = random_days(4, 200, 3)
    build_days(tmp_path, history, 3)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    batches = (history.take(slice(start, start + chunk)) for start in range(0, len(history), chunk))
    assert [row for batch in batches for row in rows_of(tables, batch)] == rows_of(tables, history)


def test_training_reads_the_day_before(tmp_path: Path) -> None:
    """A click of day d reads what was known at the end of day d-1, though the table of d itself is there."""
    for day, users in ((10, 2), (11, 5), (12, 9)):
        one_day(tmp_path, day, users)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    assert [rows_of(tables, click(day * DAY + DAY - 1, ip=7))[0][0] for day in (10, 11, 12, 13)] == [-1, 2, 5, 9]
    assert (tables.missing, tables.stale) == (1, 0)


def test_an_unseen_entity_and_a_null_have_0(tmp_path: Path) -> None:
    """Where a table is in use, 0 says that the entity was not seen."""
    one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    assert rows_of(tables, click(11 * DAY, ip=8)) == rows_of(tables, click(11 * DAY)) == [[0, 0, 0]]
    assert rows_of(tables, click(11 * DAY, ip=7)) == [[2, 1, 0]]
    assert (tables.missing, tables.stale) == (0, 0)


def test_without_tables_values_are_not_known(tmp_path: Path) -> None:
    """No tables at all, no folder, an empty folder and other things in it: -1, and the clicks are counted."""
    (tmp_path / "slow" / "notes").mkdir(parents=True)
    (tmp_path / "slow" / "1970-01-11").mkdir()
    (tmp_path / "slow" / "19700111").write_text("")
    for folder in (tmp_path / "none", tmp_path / "slow"):
        tables = SlowTables(folder, 2 * DAY, KEY)
        assert rows_of(tables, click(11 * DAY, ip=7)) == [[NOT_KNOWN] * 3]
        assert (tables.missing, tables.stale, tables.newest) == (1, 0, None)
    assert rows_of(None, click(11 * DAY, ip=7)) == [[NOT_KNOWN] * 3]
    assert rows_of(SlowTables(tmp_path, 2 * DAY, KEY), click(0).take(slice(0, 0))) == []


@pytest.mark.parametrize(("age", "value"), [(24 * HOUR, -1), (24 * HOUR + HOUR, 2), (48 * HOUR, 2)])
def test_an_older_table_serves_until_its_age(tmp_path: Path, age: int, value: float) -> None:
    """Without the table of the day before, the newest one does, until slow_age after the end of its day."""
    one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, age, KEY)
    assert rows_of(tables, click(12 * DAY + HOUR, ip=7))[0][0] == value
    assert tables.stale == (value == -1)
    assert tables.newest == 11 * DAY


def test_a_stale_table_does_not_serve(tmp_path: Path) -> None:
    """A microsecond past slow_age the value is not known, and the click is counted as stale."""
    one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, 36 * HOUR, KEY)
    last = 11 * DAY + 36 * HOUR
    batch = clicks_of(LAYOUT, [last, last + 1], [[0, 0, 7, 0, 0]] * 2)
    assert [row[0] for row in rows_of(tables, batch)] == [2, NOT_KNOWN]
    assert rows_of(tables, click(1000 * DAY, ip=7)) == [[NOT_KNOWN] * 3]
    assert (tables.missing, tables.stale) == (0, 2)


def test_a_table_of_another_key_is_not_used(tmp_path: Path) -> None:
    """Hashes of another secret key find nothing, so its table counts as missing rather than as unseen."""
    one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, 2 * DAY, "bb")
    assert rows_of(tables, click(11 * DAY, ip=7)) == [[NOT_KNOWN] * 3]


def test_a_table_of_another_catalogue_tells_what_it_has(tmp_path: Path) -> None:
    """Features that a table does not hold are not known; those that it holds are."""
    one_day(tmp_path, 10, 2)
    features = (Clicks("ip", "1h"), PeakDistinct("device", by="ip"), PeakDistinct("user", by="ip"))
    layout = compile_catalogue(check_catalogue((*features, PeakDistinct("ip", by="network"))))
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    keys = [7 if key == ("ip",) else 0 for key in layout.keys]
    assert rows_of(tables, clicks_of(layout, [11 * DAY], [keys]), layout) == [[NOT_KNOWN, 2, NOT_KNOWN]]
    assert tables.missing == 1


def test_more_days_than_are_held_open(tmp_path: Path) -> None:
    """A log of many days reads the table of each, though only a few are open at once."""
    for day in range(10, 24):
        one_day(tmp_path, day, day)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    times = [day * DAY for day in range(11, 25)] * 2
    rows = rows_of(tables, clicks_of(LAYOUT, times, [[0, 0, 7, 0, 0]] * len(times)))
    assert [row[0] for row in rows] == [*range(10, 24)] * 2


def test_nothing_is_compiled_at_a_click(tmp_path: Path) -> None:
    """What reads a table is compiled when the tables are looked for, before the first click comes."""
    one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    compiled = len(_read.signatures)
    rows_of(tables, click(11 * DAY, ip=7))
    rows_of(tables, random_days(0, 30, 15))
    assert len(_read.signatures) == compiled


def test_a_layout_without_slow_features(tmp_path: Path) -> None:
    """Nothing is looked up, and nothing is counted."""
    layout = compile_catalogue(check_catalogue((Clicks("ip", "1h"),)))
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    assert rows_of(tables, clicks_of(layout, [SECOND], [[1, 2, 3]]), layout) == [[]]
    assert rows_of(None, clicks_of(layout, [SECOND], [[1, 2, 3]]), layout) == [[]]
    assert tables.missing == 0
