from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from tests.monitor.traffic import DAY, HASHES, MINUTE, START, Traffic, append, registry_with, settings_at, totals

from slidr.clock import ManualClock
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.monitor import Monitor
from slidr.monitor.people import trusted_accounts
from slidr.tables import PURCHASES


def bought(*rows: tuple[str, int, str | None, str | None]) -> pa.Table:
    """Return purchases of (purchase_id, time, user, click_id)."""
    names = ("purchase_id", "time", "user", "click_id", "value", "currency")
    made = [dict(zip(names, (*row, 1, "EUR"), strict=True)) for row in rows]
    return pa.Table.from_pylist(made, schema=arrow_schema(PURCHASES))


def test_who_bought_on_the_most_days_is_trusted_most(tmp_path: Path) -> None:
    """Days come before purchases; an account known by its hash alone counts; who bought on one day does not."""
    lake = Lake(str(tmp_path / "lake"))
    assert len(trusted_accounts(lake, HASHES, 0, most=9, days=2)) == 0
    days = {"often": 3, "key:00000000000000ff": 2, "once": 1, "old": 3}
    rows = [
        (f"{user}{day}", START - (day + (90 if user == "old" else 0)) * DAY, user, None)
        for user, count in days.items()
        for day in range(count)
    ]
    rows += [(f"many{place}", START - place % 2 * DAY, "many", None) for place in range(20)]
    lake.write(PURCHASES, bought(*rows))
    often, many = HASHES.texts(["often", "many"]).view(np.int64).tolist()
    found = trusted_accounts(lake, HASHES, START - 30 * DAY, most=2, days=2)
    assert found.tolist() == sorted([often, many])
    assert 255 in trusted_accounts(lake, HASHES, START - 30 * DAY, most=3, days=2)


def test_a_bundle_that_finds_trusted_accounts_invalid_is_rolled_back(tmp_path: Path) -> None:
    """Though it was stable, and before any of them has bought again; purchases of the lake count once."""
    settings = settings_at(tmp_path, rollback=True)
    registry, ids = registry_with(tmp_path, [START - 9 * DAY, START - 3 * DAY])
    lake = Lake(settings.storage.lake)
    rows = [(f"{user}.{day}", START - day * DAY, f"user-{user}", None) for user in range(50) for day in (3, 4, 5)]
    lake.write(PURCHASES, bought(*rows))
    path, clock, traffic = Path(settings.storage.journal), ManualClock(START + 10 * MINUTE), Traffic()
    monitor = Monitor(settings, clock, registry, lambda: (path,), lambda _now: HASHES, lake)
    append(path, [])
    monitor.look()
    entries = traffic.minutes(START, 10, ids[1], people=0.5, ivr=0.05)
    append(path, entries)
    lake.merge(PURCHASES, bought(("new", START + 9 * MINUTE, None, entries[0].click_id)))
    seen = monitor.look()
    assert seen.rolled_back == ids[0]
    assert {alarm.metric for alarm in seen.open} >= {"trusted"}
    lake.merge(PURCHASES, bought(("again", START + 9 * MINUTE, None, entries[0].click_id)))
    monitor.look()
    assert totals(monitor)["bought"] == 1
    monitor.close()
