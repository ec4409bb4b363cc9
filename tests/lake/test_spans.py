"""Reading by spans: the rows of a day of any size, a bounded number at a time, in the one order."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidr.clock import DAY, SECOND
from slidr.errors import TableError
from slidr.lake.delta import Lake
from slidr.tables import SCORES

MIDNIGHT = int(dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()) * SECOND


def scores(times: np.ndarray) -> pa.Table:
    """Return a score at each of these microseconds after midnight; identifiers run against the order of the rows."""
    names = [f"c{len(times) - place:06d}" for place in range(len(times))]
    at = pa.array(MIDNIGHT + times, pa.int64()).cast(pa.timestamp("us", "UTC"))
    return pa.table({"click_id": names, "time": at, "score": np.arange(len(times), dtype=np.float32)})


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    busy=st.sampled_from([10 * SECOND, DAY, 3 * DAY]),
    bounds=st.tuples(*[st.none() | st.integers(-1, 3 * DAY)] * 2),
)
def test_batches_are_what_is_read(seed: int, rows: int, busy: int, bounds: tuple[int | None, int | None]) -> None:
    """For any rows, ties included, any bounds and any size, batches in a row are what one read returns."""
    generator = np.random.default_rng(seed)
    start, end = (None if bound is None else MIDNIGHT + bound for bound in bounds)
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        lake.write(SCORES, scores(generator.integers(0, busy, 200) // 1000 * 1000))
        whole = lake.read(SCORES, start=start, end=end)
        parts = list(lake.batches(SCORES, start=start, end=end, rows=rows))
        named = list(lake.batches(SCORES, start=start, end=end, rows=rows, columns=["score"]))
    assert all(part.num_rows for part in parts)
    if parts:
        assert pa.concat_tables(parts).equals(whole)
        assert pa.concat_tables(named)["score"].equals(whole["score"])
    else:
        assert whole.num_rows == 0


def test_batches_are_small(tmp_path: Path) -> None:
    """No batch is longer than asked for, but for a single second of more rows."""
    lake = Lake(str(tmp_path))
    spread = np.arange(0, DAY, 100 * SECOND)
    lake.write(SCORES, scores(np.concatenate([spread, np.full(50, 7 * 3600 * SECOND)])))
    *others, second, longest = sorted(part.num_rows for part in lake.batches(SCORES, rows=20))
    assert sum(others) + second + longest == len(spread) + 50
    assert longest == 51
    assert second <= 20
    assert len(others) < 2 * len(spread) // 20


def test_batches_name_what_is_missing(tmp_path: Path) -> None:
    """A column that does not exist, or a table, is named as by a read."""
    lake = Lake(str(tmp_path))
    with pytest.raises(TableError, match="no table 'scores'"):
        next(lake.batches(SCORES))
    lake.write(SCORES, scores(np.zeros(1, np.int64)))
    with pytest.raises(TableError, match="no column 'scor'; did you mean 'score'"):
        next(lake.batches(SCORES, columns=["scor"]))


def test_an_old_version_is_read_to_its_end(tmp_path: Path) -> None:
    """Batches go on with the version that they began with, though the day is replaced meanwhile."""
    lake = Lake(str(tmp_path))
    first = scores(np.arange(100) * SECOND)
    lake.write(SCORES, first)
    parts = lake.batches(SCORES, rows=10)
    read = [next(parts)]
    lake.write(SCORES, scores(np.array([5 * SECOND])))
    read += parts
    assert pa.concat_tables(read)["score"].to_pylist() == first["score"].to_pylist()
