"""A click's history: everything the lake has of it, from few files, and a clear answer where there is nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.test_journal import CONTEXT, entry, shadow

from slidr.clock import DAY, HOUR, ManualClock
from slidr.errors import RecordsError
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.lake.upkeep import compact
from slidr.records.history import History, history, moment
from slidr.ship import ship
from slidr.tables import ADJUSTMENTS, CLICKS, DECISIONS, LABELS, PURCHASES, Table

TIME = 1_767_225_600_000_000
WHEN = dt.date(2026, 1, 1)


def rows_of(table: Table, *rows: dict[str, Any]) -> pa.Table:
    """Return rows of a table; columns that are left out are null."""
    return pa.Table.from_pylist([{**dict.fromkeys(table.names), **row} for row in rows], schema=arrow_schema(table))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with 30 shipped decisions of one day, of which the third was corrected."""
    lake = Lake(str(tmp_path / "lake"))
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.declare(CONTEXT)
        for start in range(0, 30, 10):
            entries = [entry(place) for place in range(start, start + 10)]
            journal.append(entries, [shadow(start + 2, b"row")])
            ship(lake, [journal], clock=ManualClock(TIME), keep=25 * HOUR)
    clicks = [{"click_id": f"click-{place}", "time": TIME + place, "user": f"u{place}"} for place in range(30)]
    lake.write(CLICKS, rows_of(CLICKS, *clicks))
    held = lake.read(DECISIONS).slice(2, 1).to_pylist()[0]
    later = held["decided_at"] + dt.timedelta(days=3)
    changed = {"decision_id": "r-1", "supersedes": held["decision_id"], "cause": "replay:r", "decided_at": later}
    lake.append(DECISIONS, rows_of(DECISIONS, {**held, **changed, "verdict": "invalid_sophisticated"}))
    return lake


def found(lake: Lake, click_id: str = "click-2", day: dt.date = WHEN) -> History:
    """Look a click up with a window of a week."""
    return history(lake, click_id, day, window=7 * DAY, zone="Europe/Berlin")


def test_a_history_has_everything_in_order(lake: Lake) -> None:
    """The log, decisions with the one that holds, row, shadow, label, purchases and adjustments of its correction."""
    matured = {"matured_at": TIME + 7 * DAY, "as_of": TIME + 8 * DAY}
    label = {"click_id": "click-2", "time": TIME + 2, "human": True, "reason": "purchase", **matured}
    lake.write(LABELS, rows_of(LABELS, label))
    bought = {"purchase_id": "p1", "time": TIME + 6 * DAY, "click_id": "click-2", "value": 5_000_000}
    late = {"purchase_id": "p2", "time": TIME + 40 * DAY, "click_id": "click-2"}
    other = {"purchase_id": "p3", "time": TIME + DAY, "click_id": "click-3"}
    lake.write(PURCHASES, rows_of(PURCHASES, bought, late, other))
    owed: dict[str, Any] = {
        "replay": "replay:r",
        "period": "2026-01",
        "billing_day": WHEN,
        "clicks": 1,
        "cost": 7,
        "currency": "EUR",
    }
    others: list[dict[str, Any]] = [
        {"campaign": "z"},
        {"campaign": "c", "replay": "replay:s"},
        {"campaign": "c", "billing_day": dt.date(2026, 1, 2)},
    ]
    lake.append(ADJUSTMENTS, rows_of(ADJUSTMENTS, {**owed, "campaign": "c"}, *(owed | one for one in others)))
    seen = found(lake)
    assert seen.click is not None
    assert seen.click["user"] == "u2"
    assert [row["cause"] for row in seen.decisions] == ["live", "replay:r"]
    assert seen.standing == "r-1"
    assert [(row["sequence"], row["keys"], row["row"]) for row in seen.rows] == [(2, 16, 8)]
    assert [row["bundle"] for row in seen.shadows] == ["b2"]
    assert [row["reason"] for row in seen.labels] == ["purchase"]
    assert [row["purchase_id"] for row in seen.purchases] == ["p1"]
    assert [(row["campaign"], row["period"], row["cost"]) for row in seen.adjustments] == [("c", "2026-01", 7)]


def test_a_compacted_day_is_read_from_one_file(lake: Lake) -> None:
    """Compaction changes nothing that is found, and fewer files are read for it."""
    before = found(lake)
    compact(lake, WHEN + dt.timedelta(1))
    after = found(lake)
    assert after._replace(scanned=[]) == before._replace(scanned=[])
    files = {one.table: (one.files, one.groups) for one in after.scanned}
    assert files["decisions"] == (1, 1)
    assert files["rows"] == (1, 1)
    assert sum(one.bytes for one in after.scanned) > 0


@pytest.mark.parametrize(
    ("click_id", "day", "said"),
    [
        ("nobody", WHEN, "knows no click nobody"),
        ("click-2", dt.date(2026, 1, 2), "nothing of 2026-01-02"),
        ("click-2", dt.date(2024, 1, 2), "before all that the lake still holds"),
    ],
)
def test_nothing_found_is_said_with_its_reason(lake: Lake, click_id: str, day: dt.date, said: str) -> None:
    """An unknown click, a day without data and a day before the retention have answers of their own."""
    with pytest.raises(RecordsError, match=said):
        found(lake, click_id, day)


def test_a_click_of_the_day_beside_is_pointed_to(lake: Lake) -> None:
    """Who gives the local date of a click near midnight is told the UTC one."""
    other = {"click_id": "other", "time": TIME + DAY}
    lake.merge(CLICKS, rows_of(CLICKS, other))
    with pytest.raises(RecordsError, match="not made on 2026-01-02 but on 2026-01-01"):
        found(lake, "click-2", dt.date(2026, 1, 2))


def test_an_empty_lake_says_what_to_run(tmp_path: Path) -> None:
    """Before anything was shipped, the command to run is named."""
    with pytest.raises(RecordsError, match="run `slidr ship`"):
        found(Lake(str(tmp_path / "none")))


def test_a_day_is_a_date_or_a_time_with_its_zone() -> None:
    """A time without a zone tells no UTC day."""
    assert moment("2026-01-01T23:30:00-05:00") == dt.date(2026, 1, 2)
    with pytest.raises(ValueError, match="2026-01-01T23:30"):
        moment("2026-01-01T23:30")
