"""Erasure: a person's identifiers leave the bytes on disk, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests import small
from tests.replayed import bundles, clicks_of, decider_of, holding, plan_of, served
from tests.test_journal import CONTEXT, entry, shadow

from slidr.clock import HOUR, ManualClock
from slidr.features.keys import KeyRing, Pseudonymiser, Secret
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.records.lake_erasure import erase_from_lake, name_of
from slidr.replay.rescore import rescore
from slidr.replay.running import publish
from slidr.ship import ship
from slidr.tables import CLICKS, DECISIONS, FEATURES, LABELS, PURCHASES, ROWS, SHADOWS, Table

TIME = 1_767_225_600_000_000
RING = KeyRing((Secret(bytes(range(16)), 0),))
WHO = "zz-erased-person"
NONE = {"shadows": 0, "features": 0, "rows": 0, "purchases": 0, "labels": 0, "clicks": 0}


def rows_of(table: Table, *rows: dict[str, Any]) -> pa.Table:
    """Return rows of a table; columns that are left out are null."""
    return pa.Table.from_pylist([{**dict.fromkeys(table.names), **row} for row in rows], schema=arrow_schema(table))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with ten decisions; clicks 2 and 3 are the person's, of which the log holds only 2."""
    lake = Lake(str(tmp_path / "lake"))
    mine = int(Pseudonymiser(RING.keys[0].secret).texts([WHO])[0])
    entries = [entry(place) for place in range(10)]
    for place in (2, 3):
        entries[place] = entries[place]._replace(keys=np.array([mine, 7], np.uint64).tobytes())
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.declare(CONTEXT)
        journal.append(entries, [shadow(place, b"their own") for place in range(2, 5)])
        ship(lake, [journal], clock=ManualClock(TIME), keep=25 * HOUR)
    clicks = [{"click_id": f"click-{at}", "time": TIME + at, "user": f"u{at}", "ip": "192.0.2.1"} for at in range(10)]
    clicks[2] |= {"user": WHO, "session": "zz-session", "ip": "198.51.100.77", "user_agent": "zz-browser"}
    del clicks[3]
    lake.write(CLICKS, rows_of(CLICKS, *clicks))
    lake.write(PURCHASES, rows_of(PURCHASES, {"purchase_id": "p", "time": TIME + 9, "user": WHO, "value": 5}))
    label = {"human": True, "reason": "purchase", "matured_at": TIME + 9, "as_of": TIME + 9}
    places = [{"click_id": f"click-{at}", "time": TIME + at, "sequence": at} for at in range(10)]
    features = rows_of(FEATURES, *places).append_column("count", pa.array(np.arange(1, 11, dtype=np.float32)))
    lake.write(FEATURES, features.append_column("older", pa.nulls(10, pa.float32())))
    lake.write(LABELS, rows_of(LABELS, {"click_id": "click-2", "time": TIME + 2, "purchaser": WHO, **label}))
    return lake


def on_disk(lake: Lake, sought: bytes) -> list[str]:
    """Return the files of the lake that hold bytes as they are or, in Parquet, in any cell."""
    root = Path(lake.address(CLICKS)).parent
    found = [str(path) for path in root.rglob("*") if path.is_file() and sought in path.read_bytes()]
    for path in root.rglob("*.parquet"):
        cells = pa.parquet.read_table(path, partitioning=None).to_pylist()
        found += [str(path)] if sought.decode(errors="replace") in repr(cells) else []
    return found


def test_nothing_of_a_person_is_left_on_disk(lake: Lake) -> None:
    """No file, of any version, and no entry of a log holds an identifier; a second time finds nothing."""
    sought = (WHO.encode(), b"zz-session", b"198.51.100.77", b"zz-browser")
    assert all(on_disk(lake, one) for one in sought)
    counted = {"shadows": 2, "features": 2, "rows": 2, "purchases": 1, "labels": 1, "clicks": 1}
    assert erase_from_lake(lake, WHO, RING, dry_run=True) == counted
    assert all(on_disk(lake, one) for one in sought)
    assert erase_from_lake(lake, WHO, RING) == counted
    assert not [path for one in sought for path in on_disk(lake, one)]
    assert erase_from_lake(lake, WHO, RING) == NONE


def test_only_the_fields_of_the_person_change(lake: Lake) -> None:
    """Decisions, other rows and the places in the fold stay; keys are as long as they were, and zero."""
    decisions, before, clicks = (lake.read(table) for table in (DECISIONS, ROWS, CLICKS))
    erase_from_lake(lake, WHO, RING)
    assert lake.read(DECISIONS).equals(decisions)
    after = lake.read(ROWS)
    assert after.drop_columns(["keys", "row"]).equals(before.drop_columns(["keys", "row"]))
    for at, (was, now) in enumerate(zip(before.to_pylist(), after.to_pylist(), strict=True)):
        assert now == ({**was, "keys": bytes(16), "row": b""} if at in {2, 3} else was)
    assert [(row["click_id"], row["row"]) for row in lake.read(SHADOWS).to_pylist()] == [
        ("click-2", b""),
        ("click-3", b""),
        ("click-4", b"their own"),
    ]
    features = lake.read(FEATURES)
    assert features["count"].to_pylist() == [1, 2, 0, 0, 5, 6, 7, 8, 9, 10]
    assert features["older"].null_count == features.num_rows
    assert [row for row in lake.read(CLICKS).to_pylist() if row["user"]] == [
        row for row in clicks.to_pylist() if row["user"] != WHO
    ]


def test_shipping_goes_on_afterwards(lake: Lake, tmp_path: Path) -> None:
    """What was shipped is not shipped again, for the numbers of its commits outlive the log's entries."""
    erase_from_lake(lake, WHO, RING)
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([entry(10)])
        ship(lake, [journal], clock=ManualClock(TIME), keep=25 * HOUR)
    assert lake.read(ROWS)["sequence"].to_pylist() == list(range(11))
    assert erase_from_lake(lake, WHO, RING) == NONE


def test_a_person_is_named_by_a_hash_that_needs_the_key() -> None:
    """The name says nothing without the key, and another key gives another one."""
    assert WHO not in name_of(WHO, RING)
    assert name_of(WHO, RING) != name_of(WHO, KeyRing((Secret(bytes(16), 0),)))


def test_a_replay_leaves_erased_clicks_as_they_were_decided(tmp_path: Path) -> None:
    """Rescoring neither fails nor changes what was decided of them; all other clicks are put right."""
    good, bad = bundles(tmp_path)
    clicks = clicks_of(300)
    wanted = {one[0]: one for one in holding(served(tmp_path / "a", clicks, [good, good]))}
    lake = served(tmp_path / "b", clicks, [good, bad])
    before = {one[0]: one for one in holding(lake)}
    user = next(one.user for one in reversed(clicks) if one.user and before[one.click_id] != wanted[one.click_id])
    mine = {one.click_id for one in clicks if one.user == user}
    erase_from_lake(lake, user, KeyRing((Secret(small.SECRET, 0),)))
    plan = plan_of(lake, good)
    publish(lake, plan, rescore(lake, plan, decider_of(good)), "UTC")
    after = {one[0]: one for one in holding(lake)}
    assert after == {click: (before if click in mine else wanted)[click] for click in wanted}
