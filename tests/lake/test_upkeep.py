from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from slidr.errors import TableError
from slidr.lake import upkeep
from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.lake.upkeep import compact, expire, oldest_kept, vacuum
from slidr.tables import SCORES, THRESHOLDS

UTC = pa.timestamp("us", tz="UTC")
DAY = dt.date(2026, 3, 2)
MIDNIGHT = int(dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()) * 1_000_000
TABLES = (SCORES, THRESHOLDS)


def scores(start: int, count: int, days: int = 0) -> pa.Table:
    """Return scores of clicks whose ids are in no order."""
    numbers = np.random.default_rng(start).permutation(count) + start
    times = MIDNIGHT + days * 86_400_000_000 + np.arange(start, start + count)
    ids = [f"c{number * 7919 % 100_000:05}-{number}" for number in numbers]
    columns = {"click_id": ids, "time": pa.array(times).cast(UTC), "score": np.full(count, 0.5)}
    return conform(SCORES, pa.table(columns))


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with two days of scores, of several appended parts each; small ranges and row groups."""
    monkeypatch.setattr(upkeep, "_ROWS", 500)
    monkeypatch.setattr(upkeep, "ROW_GROUP", 128)
    lake = Lake(str(tmp_path / "lake"))
    for part in range(8):
        lake.append(SCORES, scores(part * 200, 200), ("j", part + 1))
    lake.append(SCORES, scores(9000, 10, days=1))
    return lake


def groups_with(lake: Lake, click_id: str) -> int:
    """Return how many row groups may hold a click by their statistics."""
    dataset = lake.open(SCORES).to_pyarrow_dataset()
    found = ds.field("click_id") == click_id
    fragments = dataset.get_fragments(filter=(ds.field("day") == pa.scalar(DAY)) & found)
    return sum(len(fragment.split_by_row_group(found)) for fragment in fragments)


def test_a_compacted_day_has_its_rows_and_answers_from_one_row_group(lake: Lake) -> None:
    """No row is lost or changed, a click is sought in one row group instead of every file, and numbers stay."""
    before = lake.read(SCORES)
    click_id = before["click_id"][7].as_py()
    assert groups_with(lake, click_id) >= 4
    (done,) = compact(lake, DAY + dt.timedelta(1), (SCORES,))
    assert (done.day, done.rows, done.files) == (DAY, 1600, 8)
    assert lake.read(SCORES).equals(before)
    assert groups_with(lake, click_id) <= 2
    assert lake.transaction(SCORES, "j") == 8


def test_compacting_again_does_nothing_until_rows_come(lake: Lake) -> None:
    """A sorted day and a young one are left alone; one that was appended to is sorted again, with all its rows."""
    compact(lake, DAY + dt.timedelta(1), (SCORES,))
    version = lake.version(SCORES)
    assert compact(lake, DAY + dt.timedelta(2), (SCORES,)) == []
    assert lake.version(SCORES) == version
    for part in range(6):
        lake.append(SCORES, scores(4000 + 50 * part, 50))
    (done,) = compact(lake, DAY + dt.timedelta(2), (SCORES,))
    assert done.rows == 1900
    assert lake.read(SCORES).num_rows == 1910


def test_a_day_that_is_written_to_meanwhile_stays_as_it_is(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come while a day is sorted are not lost: the sorted day is dropped, and the next time has both."""
    sort = upkeep._sorted

    def meanwhile(*given: object) -> object:
        lake.append(SCORES, scores(4000, 300))
        return sort(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(upkeep, "_sorted", meanwhile)
    assert compact(lake, DAY + dt.timedelta(1), (SCORES,)) == []
    assert lake.read(SCORES).num_rows == 1910
    monkeypatch.setattr(upkeep, "_sorted", sort)
    assert [one.rows for one in compact(lake, DAY + dt.timedelta(1), (SCORES,))] == [1900]


def test_what_is_replaced_from_a_version_keeps_what_came_later(lake: Lake) -> None:
    """A day that was written to since the version that a writer looked at is not replaced by it."""
    seen = lake.version(SCORES)
    lake.append(SCORES, scores(4000, 300))
    with pytest.raises(TableError, match="concurrent transactions added new data"):
        lake.write(SCORES, scores(0, 5), day=DAY, seen=seen)
    assert lake.read(SCORES).num_rows == 1910


def test_old_days_expire_by_calendar_months(lake: Lake) -> None:
    """Days before the same date so many months ago go, and a table that ends long ago keeps its last months."""
    lake.append(SCORES, scores(0, 5, days=-400))
    assert expire(lake, DAY, 14, TABLES) == {}
    assert expire(lake, DAY, 13, TABLES) == {"scores": [DAY - dt.timedelta(400)]}
    assert expire(lake, dt.date(2036, 1, 1), 13, TABLES) == {}
    assert lake.read(SCORES).num_rows == 1610
    assert oldest_kept(dt.date(2026, 3, 31), 13) == dt.date(2025, 2, 28)
    assert oldest_kept(dt.date(2026, 1, 1), 13) == dt.date(2024, 12, 1)


def test_files_stay_as_long_as_readers_may_read_them(lake: Lake) -> None:
    """Replaced files are deleted after the hours that are set, and not before."""
    compact(lake, DAY + dt.timedelta(1), (SCORES,))
    assert vacuum(lake, 1, TABLES) == 0
    assert vacuum(lake, 0, TABLES) == 8
    assert lake.read(SCORES).num_rows == 1610
