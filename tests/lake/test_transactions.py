from __future__ import annotations

import datetime as dt
from pathlib import Path
from threading import Barrier, Thread

import pyarrow as pa
import pytest

from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.tables import SCORES

UTC = pa.timestamp("us", tz="UTC")
MIDNIGHT = int(dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()) * 1_000_000


def scores(*names: str) -> pa.Table:
    """Return scores of clicks with these names."""
    times = pa.array([MIDNIGHT + place for place in range(len(names))]).cast(UTC)
    return conform(SCORES, pa.table({"click_id": list(names), "time": times, "score": [0.5] * len(names)}))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


def test_a_commit_under_a_number_lands_once(lake: Lake) -> None:
    """The same number again, or a smaller one, adds nothing; a greater one and another application's do."""
    assert lake.transaction(SCORES, "one") is None
    assert lake.append(SCORES, scores("a", "b"), ("one", 2))
    assert lake.transaction(SCORES, "one") == 2
    assert not lake.append(SCORES, scores("a", "b"), ("one", 2))
    assert not lake.append(SCORES, scores("a"), ("one", 1))
    assert lake.append(SCORES, scores("c"), ("one", 3))
    assert lake.append(SCORES, scores("d"), ("other", 1))
    assert lake.read(SCORES)["click_id"].to_pylist() == ["a", "c", "d", "b"]
    assert (lake.transaction(SCORES, "one"), lake.transaction(SCORES, "other")) == (3, 1)


def test_rows_that_follow_on_a_number_need_it_to_be_the_last(lake: Lake) -> None:
    """Where another writer went on meanwhile, rows that begin behind its predecessor are not added."""
    assert lake.append(SCORES, scores("a"), ("one", 5), after=0)
    assert not lake.append(SCORES, scores("a", "b"), ("one", 9), after=0)
    assert lake.append(SCORES, scores("b"), ("one", 9), after=5)
    assert lake.read(SCORES)["click_id"].to_pylist() == ["a", "b"]


def test_rewriting_a_day_keeps_the_numbers(lake: Lake) -> None:
    """The last number outlives what replaces the rows that came with it."""
    lake.append(SCORES, scores("a", "b"), ("one", 2))
    lake.write(SCORES, scores("c"))
    assert lake.transaction(SCORES, "one") == 2


def test_of_writers_at_once_one_adds_its_rows(lake: Lake) -> None:
    """Four writers of one range, on a table that none of them finds: it lands once, and the others are told."""
    start, told = Barrier(4), []

    def write() -> None:
        start.wait()
        told.append(lake.append(SCORES, scores("a", "b"), ("one", 2), after=0))

    threads = [Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False, False, False, True]
    assert lake.read(SCORES)["click_id"].to_pylist() == ["a", "b"]
