from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from slidr.clock import DAY, HOUR
from slidr.errors import TableError
from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.tables import CLICKS, PURCHASES, SCORES, THRESHOLDS

MONDAY = dt.date(2026, 3, 2)
TUESDAY = dt.date(2026, 3, 3)
MIDNIGHT = int(dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()) * 1_000_000
UTC = pa.timestamp("us", tz="UTC")


def clicks(*times: int, first: int = 0, **further: object) -> pa.Table:
    """Return clicks at these microseconds after Monday's midnight."""
    identifiers = [f"c{first + place}" for place in range(len(times))]
    at = pa.array([MIDNIGHT + time for time in times], pa.int64()).cast(UTC)
    return conform(CLICKS, pa.table({"click_id": pa.array(identifiers, pa.string()), "time": at, **further}))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


def test_what_is_written_is_read_in_order_of_time_and_identifier(lake: Lake) -> None:
    """Rows come back sorted, whatever their order when written."""
    written = clicks(5, 3, 3, DAY + 1, 0)
    lake.write(CLICKS, written)
    read = lake.read(CLICKS)
    assert read.equals(written.sort_by([("time", "ascending"), ("click_id", "ascending")]))
    assert lake.days(CLICKS) == [MONDAY, TUESDAY]


def test_writing_a_day_twice_leaves_it_as_once(lake: Lake) -> None:
    """A day that is run again replaces itself, in one commit, and leaves other days alone."""
    lake.write(CLICKS, clicks(1, 2, 3), day=MONDAY)
    lake.write(CLICKS, clicks(DAY, first=9), day=TUESDAY)
    once, version = lake.read(CLICKS), lake.version(CLICKS)
    lake.write(CLICKS, clicks(1, 2, 3), day=MONDAY)
    assert lake.read(CLICKS).equals(once)
    assert lake.version(CLICKS) == version + 1


def test_a_shorter_day_replaces_a_longer_one(lake: Lake) -> None:
    """No row of the day before its replacement remains, not even where the new day is empty."""
    lake.write(CLICKS, clicks(1, 2, 3, DAY), day=None)
    lake.write(CLICKS, clicks(7, first=7), day=MONDAY)
    assert lake.read(CLICKS)["click_id"].to_pylist() == ["c7", "c3"]
    lake.write(CLICKS, clicks(), day=MONDAY)
    assert lake.days(CLICKS) == [TUESDAY]


def test_a_day_of_another_date_is_refused(lake: Lake) -> None:
    """A time outside the day names its row instead of replacing a day by mistake."""
    with pytest.raises(TableError, match=r"row 1: 2026-03-03 00:00:00.* is not on 2026-03-02 UTC"):
        lake.write(CLICKS, clicks(1, DAY), day=MONDAY)


def test_a_merge_replaces_by_identifier_and_keeps_the_neighbours(lake: Lake) -> None:
    """On the days of the data a row replaces its namesake; other rows and other days stay, and twice is as once."""
    lake.write(CLICKS, clicks(1, 2, DAY, DAY + 1))
    newer = clicks(5, 6, first=1, rank=[1, 2])
    for _ in range(2):
        lake.merge(CLICKS, newer)
        read = lake.read(CLICKS)
        assert read["click_id"].to_pylist() == ["c0", "c1", "c2", "c2", "c3"]
        assert read["rank"].to_pylist() == [None, 1, 2, None, None]


def test_a_merge_reads_only_the_days_that_it_touches(lake: Lake) -> None:
    """The files of other days are the same before and after, in one commit."""
    lake.merge(CLICKS, clicks(1, DAY))
    files, version = set(Path(lake.address(CLICKS)).rglob("*.parquet")), lake.version(CLICKS)
    for file in files:
        if "2026-03-03" in str(file):
            file.write_bytes(b"not read")
    lake.merge(CLICKS, clicks(2, first=9))
    assert lake.version(CLICKS) == version + 1
    assert lake.read(CLICKS, end=MIDNIGHT + DAY)["click_id"].to_pylist() == ["c0", "c9"]


def test_a_merge_of_nothing_changes_nothing(lake: Lake) -> None:
    """Empty data make the table where there is none, and leave it where there is one."""
    lake.merge(CLICKS, clicks())
    assert lake.exists(CLICKS)
    lake.merge(CLICKS, clicks(1))
    lake.merge(CLICKS, clicks())
    assert lake.read(CLICKS).num_rows == 1


def test_a_day_that_is_merged_unchanged_is_not_written(lake: Lake) -> None:
    """Rows that are there already make no commit; beside a changed day, an unchanged one keeps its files."""
    lake.merge(CLICKS, clicks(2, 1, DAY))
    held, version = lake.contents(CLICKS), lake.version(CLICKS)
    lake.merge(CLICKS, clicks(2, 1, DAY).take([2, 1, 0]))
    assert lake.version(CLICKS) == version
    lake.merge(CLICKS, clicks(2, 1, DAY, DAY + 5))
    now = lake.contents(CLICKS)
    assert now[MONDAY] == held[MONDAY]
    assert now[TUESDAY].hash != held[TUESDAY].hash
    assert (now[MONDAY].rows, now[TUESDAY].rows) == (2, 2)
    lake.merge(CLICKS, clicks(2, user=["ada"]))
    assert lake.contents(CLICKS)[MONDAY].hash != held[MONDAY].hash
    assert lake.contents(PURCHASES) == {}


def test_a_day_in_parts_is_the_day_in_one(lake: Lake) -> None:
    """A day given part by part is replaced in one commit, as one write would, and its neighbours stay."""
    lake.write(CLICKS, clicks(1, 2, DAY, first=90))
    version = lake.version(CLICKS)
    whole = clicks(*range(100))
    with lake.replacing(CLICKS, MONDAY) as add:
        for start in range(0, 100, 7):
            add(whole.slice(start, 7))
        assert lake.version(CLICKS) == version
    assert lake.version(CLICKS) == version + 1
    assert lake.read(CLICKS, end=MIDNIGHT + DAY).equals(whole)
    assert lake.contents(CLICKS)[TUESDAY].rows == 1
    with lake.replacing(CLICKS, MONDAY):
        pass
    assert lake.days(CLICKS) == [TUESDAY]


def test_a_first_day_in_parts_makes_the_table(lake: Lake) -> None:
    """A table that was never written is made by its first day, further columns included."""
    with lake.replacing(CLICKS, MONDAY) as add:
        add(clicks(1, region=["north"]))
        add(clicks(2, first=1, region=["south"]))
    assert lake.read(CLICKS)["region"].to_pylist() == ["north", "south"]


def test_a_day_in_parts_that_fails_is_not_written(lake: Lake) -> None:
    """Whatever ends the block, an error of its own or a row that does not fit, leaves the day as it was."""
    lake.write(CLICKS, clicks(1, 2))
    version = lake.version(CLICKS)
    parts: list[tuple[pa.Table | None, str]] = [
        (None, "stop"),
        (clicks(DAY), "is not on 2026-03-02"),
        (clicks(6, rank=["first"]), "other columns or types than the first part"),
    ]

    def attempt(second: pa.Table | None) -> None:
        with lake.replacing(CLICKS, MONDAY) as add:
            add(clicks(5, rank=[1]))
            if second is None:
                raise TableError("stop")
            add(second)

    for part, message in parts:
        with pytest.raises(TableError, match=message):
            attempt(part)
    assert lake.version(CLICKS) == version
    assert lake.read(CLICKS).num_rows == 2


def test_a_merge_that_cannot_be_is_refused(lake: Lake) -> None:
    """A further column of another type is named, and a table without days is written whole."""
    lake.write(CLICKS, clicks(1, rank=[1]))
    with pytest.raises(TableError, match="rank"):
        lake.merge(CLICKS, clicks(2, rank=["first"]))
    with pytest.raises(TableError, match="write it whole"):
        lake.merge(THRESHOLDS, pa.table({}))


def test_append_adds(lake: Lake) -> None:
    """Appending keeps what is there, and makes the table where there is none."""
    lake.append(CLICKS, clicks(1))
    lake.append(CLICKS, clicks(0, first=1))
    assert lake.read(CLICKS)["click_id"].to_pylist() == ["c1", "c0"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(None, None, 4), (MIDNIGHT + HOUR, None, 3), (None, MIDNIGHT + DAY, 2), (MIDNIGHT, MIDNIGHT, 0), (0, 1, 0)],
)
def test_bounds_hold_the_start_and_not_the_end(lake: Lake, start: int | None, end: int | None, expected: int) -> None:
    """Rows with start <= time < end are read, also across days."""
    lake.write(CLICKS, clicks(0, HOUR, DAY, DAY + HOUR))
    assert lake.read(CLICKS, start=start, end=end).num_rows == expected


def test_only_the_columns_asked_for_are_read(lake: Lake) -> None:
    """Columns come in the order asked, sorted by time though time is not among them."""
    lake.write(CLICKS, clicks(2, 1, user=["late", "early"]))
    read = lake.read(CLICKS, columns=["user"])
    assert read.to_pydict() == {"user": ["early", "late"]}
    with pytest.raises(TableError, match="no column 'usr'; did you mean 'user'"):
        lake.read(CLICKS, columns=["usr"])


def test_an_earlier_version_reads_as_it_was(lake: Lake) -> None:
    """What a model was trained on can be read again exactly, after the day was replaced."""
    lake.write(CLICKS, clicks(1, 2), day=MONDAY)
    version = lake.version(CLICKS)
    lake.write(CLICKS, clicks(3), day=MONDAY)
    assert lake.read(CLICKS, version=version).num_rows == 2


def test_further_columns_may_come_and_go(lake: Lake) -> None:
    """A day with a further column and a day without stand in one table; the missing values read null."""
    lake.write(CLICKS, clicks(1, region=["north"]), day=MONDAY)
    lake.write(CLICKS, clicks(DAY, first=1), day=TUESDAY)
    assert lake.read(CLICKS)["region"].to_pylist() == ["north", None]


def test_dictionaries_and_untyped_nulls_are_stored_as_text(lake: Lake) -> None:
    """Further columns of types that Delta lacks are stored as the values that they hold."""
    lake.write(CLICKS, clicks(1, region=pa.array(["north"]).dictionary_encode(), note=pa.nulls(1)))
    assert lake.read(CLICKS, columns=["region", "note"]).to_pylist() == [{"region": "north", "note": None}]


def test_a_column_called_day_is_refused(lake: Lake) -> None:
    """The partition column is ours; a further column of its name is told to move."""
    with pytest.raises(TableError, match="rename yours"):
        lake.write(CLICKS, clicks(1, day=["Monday"]))


def test_another_schema_version_is_refused(lake: Lake) -> None:
    """A table written under one schema version is neither read nor written under another."""
    lake.write(CLICKS, clicks(1))
    newer = msgspec.structs.replace(CLICKS, version=9, since=9)
    for attempt in (lambda: lake.read(newer), lambda: lake.append(newer, clicks(2)), lambda: lake.version(newer)):
        with pytest.raises(TableError, match="schema version 2, this slidr writes and reads version 9"):
            attempt()
    assert lake.read(CLICKS).num_rows == 1


def test_clicks_without_impressions_are_read_and_added_to(lake: Lake) -> None:
    """A lake from before `impression` reads as if it were null everywhere, and takes clicks that have one."""
    before = msgspec.structs.replace(CLICKS, version=1, columns=CLICKS.columns[:-1], since=None)
    rows = clicks(1, 2, DAY)
    lake.write(before, rows.drop_columns(["impression"]))
    assert lake.read(CLICKS).equals(rows)
    assert lake.read(CLICKS, columns=["impression", "click_id"])["impression"].to_pylist() == [None] * 3
    assert [part.num_rows for part in lake.batches(CLICKS, columns=["impression"])] == [2, 1]
    added = clicks(DAY + 5, first=9, impression=["i1"])
    lake.merge(CLICKS, added)
    assert lake.read(CLICKS).equals(pa.concat_tables([rows, added]))
    lake.merge(CLICKS, rows)
    assert lake.read(CLICKS)["impression"].to_pylist() == [None, None, None, "i1"]


def test_a_table_without_times_is_replaced_whole(lake: Lake) -> None:
    """Thresholds have no days: the newest write is all there is."""
    row = {"slice": "all", "threshold": 0.5, "ivr": 0.1, "clicks": 9, "purchases": 1, "source": "own"}
    for threshold in (0.5, 0.75):
        lake.write(THRESHOLDS, pa.Table.from_pylist([{**row, "threshold": threshold}]))
    assert lake.read(THRESHOLDS)["threshold"].to_pylist() == [0.75]
    assert lake.days(THRESHOLDS) == []


def test_purchases_are_ordered_by_their_own_identifier(lake: Lake) -> None:
    """Where click_id may be null, rows of one time are ordered by the table's first column."""
    at = pa.array([MIDNIGHT, MIDNIGHT]).cast(UTC)
    lake.write(PURCHASES, pa.table({"purchase_id": ["p2", "p1"], "time": at}))
    assert lake.read(PURCHASES)["purchase_id"].to_pylist() == ["p1", "p2"]


def test_an_empty_table_reads_empty(lake: Lake) -> None:
    """A log without rows makes a table without rows, not an error at the next reader."""
    lake.write(
        PURCHASES, conform(PURCHASES, pa.table({"purchase_id": pa.array([], pa.string()), "time": pa.array([], UTC)}))
    )
    assert lake.exists(PURCHASES)
    assert lake.read(PURCHASES).num_rows == 0


def test_a_table_that_was_never_written_is_named(lake: Lake) -> None:
    """The message says which table is missing and where it was looked for."""
    assert not lake.exists(SCORES)
    assert lake.days(SCORES) == []
    with pytest.raises(TableError, match=r"no table 'scores' at .*/lake/scores; write it first"):
        lake.read(SCORES)


def test_a_day_of_many_rows_is_read_back_exactly(lake: Lake) -> None:
    """Ties in time and shuffled rows come back in one order only."""
    generator = np.random.default_rng(7)
    written = clicks(*generator.integers(0, 500, 5_000).tolist())
    lake.write(CLICKS, written.take(pa.array(generator.permutation(5_000))))
    assert lake.read(CLICKS).equals(written.sort_by([("time", "ascending"), ("click_id", "ascending")]))
