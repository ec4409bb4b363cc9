"""Parts of a day: whatever the files are sorted by, every click is in one part, and none is read in vain."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from slidr.clock import SECOND, midnight
from slidr.lake import upkeep
from slidr.lake.delta import Lake
from slidr.lake.parts import parts_of, read_part
from slidr.lake.schema import conform
from slidr.lake.upkeep import compact
from slidr.tables import SCORES

DAY = dt.date(2026, 3, 2)
NAMES = [f"c{number * 7919 % 10_007:05}" for number in range(1600)]


@pytest.fixture(params=["shipped", "compacted"])
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Lake:
    """A lake with one day of scores, a click a second: as they were shipped, and sorted by click_id."""
    monkeypatch.setattr(upkeep, "_ROWS", 500)
    monkeypatch.setattr(upkeep, "ROW_GROUP", 100)
    lake = Lake(str(tmp_path / "lake"))
    for part in range(8):
        places = np.arange(part * 200, part * 200 + 200)
        columns = {
            "click_id": [NAMES[place] for place in places],
            "time": pa.array(midnight(DAY) + places * SECOND).cast(pa.timestamp("us", tz="UTC")),
            "score": np.full(200, 0.5),
        }
        lake.append(SCORES, conform(SCORES, pa.table(columns)), ("j", part + 1))
    if request.param == "compacted":
        assert compact(lake, DAY + dt.timedelta(days=1), (SCORES,))
    return lake


@pytest.mark.parametrize("rows", [90, 130, 400, 10_000])
def test_each_click_is_in_one_part(lake: Lake, rows: int) -> None:
    """However fine a day is cut, its parts hold each click once, and the same ones in every reading."""
    parts = parts_of(lake, SCORES, None, None, rows=rows)
    found = [read_part(lake, SCORES, part, ["click_id"])["click_id"].to_pylist() for part in parts]
    assert sorted(name for part in found for name in part) == sorted(NAMES)
    assert found == [read_part(lake, SCORES, part, ["click_id"])["click_id"].to_pylist() for part in parts]
    assert (len(parts) == 1) == (rows >= len(NAMES))


def test_parts_keep_to_the_span(lake: Lake) -> None:
    """Of a span of time that cuts a day, exactly its clicks are in the parts."""
    start, end = midnight(DAY) + 150 * SECOND, midnight(DAY) + 950 * SECOND
    parts = parts_of(lake, SCORES, start, end, rows=300)
    found = [name for part in parts for name in read_part(lake, SCORES, part)["click_id"].to_pylist()]
    assert sorted(found) == sorted(NAMES[150:950])


def test_a_part_is_large_enough(lake: Lake) -> None:
    """Parts are about as large as is asked for: a day is read neither in crumbs nor all at once."""
    parts = parts_of(lake, SCORES, None, None, rows=400)
    sizes = [read_part(lake, SCORES, part, ["time"]).num_rows for part in parts]
    assert max(sizes) <= 600
    assert len(sizes) <= 8
