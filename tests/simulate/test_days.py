from __future__ import annotations

import hashlib
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidr.errors import SettingsError
from slidr.simulate import VERSION, Phase, Plan, SimulatedDay, World, build_world, simulate, simulate_day
from slidr.tables import CLICKS, PURCHASES


def _columns(table: pa.Table) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in table.schema]


def test_tables_have_the_declared_columns(days: list[SimulatedDay]) -> None:
    """Clicks have our columns but impressions, region and marketplace, purchases ours; all of the declared types."""
    clicks = pa.concat_tables([day.clicks for day in days])
    purchases = pa.concat_tables([day.purchases for day in days])
    assert _columns(clicks) == [
        *((column.name, column.type) for column in CLICKS.columns if column.name != "impression"),
        ("region", "string"),
        ("marketplace", "string"),
    ]
    assert _columns(purchases) == [(column.name, column.type) for column in PURCHASES.columns]
    for declared, table in ((CLICKS, clicks), (PURCHASES, purchases)):
        assert all(table[column.name].null_count == 0 for column in declared.columns if not column.nullable)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 3), st.integers(0, 2))
def test_the_same_seed_gives_the_same_bytes(seed: int, counted: int, burn_in: int, settle: int) -> None:
    """Two runs of a plan with one seed agree in every table, and any day alone agrees with the sequence."""
    plan = Plan(clicks=600 * counted, days=counted, burn_in=burn_in, settle=settle)
    world = build_world(plan, np.random.default_rng(seed))
    first, second = (list(simulate(plan, np.random.default_rng(seed))) for _ in range(2))
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        assert one == other == simulate_day(world, index)


def test_a_day_alone_equals_the_day_in_sequence(world: World, days: list[SimulatedDay]) -> None:
    """Purchases that follow yesterday's clicks after midnight are there too."""
    for index in (0, 29, 33, 39):
        assert simulate_day(world, index) == days[index]


def test_a_day_outside_the_plan_is_refused(world: World) -> None:
    """The message names the day and the range."""
    with pytest.raises(SettingsError, match="day 40 is not in the plan; choose one of 0 to 39"):
        simulate_day(world, 40)


def test_rows_are_sorted_and_within_their_day(days: list[SimulatedDay]) -> None:
    """Clicks and purchases lie within their UTC day, in order of time."""
    for day in days:
        for table in (day.clicks, day.purchases):
            times = table["time"].to_numpy()
            assert (np.diff(times) >= np.timedelta64(0)).all()
            assert {time.date() for time in pd.DatetimeIndex(times[[0, -1]] if len(times) else [])} <= {day.day}


def test_volumes_follow_the_plan(days: list[SimulatedDay], log: pd.DataFrame) -> None:
    """Counted clicks are about those asked for, burn-in days have a few percent of a day, settle days none."""
    assert len(log) == pytest.approx(180_000, rel=0.03)
    burn_in = [day.clicks.num_rows / 20_000 for day in days if day.phase is Phase.BURN_IN]
    assert 0.02 < np.mean(burn_in) < 0.05
    assert 0 < min(burn_in) < max(burn_in) < 0.08
    assert [day.clicks.num_rows for day in days if day.phase is Phase.SETTLE] == [0]


def test_ids_are_unique_over_days(days: list[SimulatedDay]) -> None:
    """No click id and no purchase id comes twice, and no session spans two days."""
    clicks = pc.value_counts(pa.chunked_array([day.clicks["click_id"].combine_chunks() for day in days]))
    purchases = pc.value_counts(pa.chunked_array([day.purchases["purchase_id"].combine_chunks() for day in days]))
    assert pc.max(clicks.field("counts")).as_py() == 1
    assert pc.max(purchases.field("counts")).as_py() == 1
    sessions = [set(day.clicks["session"].drop_null().to_pylist()) for day in days[30:33]]
    assert not sessions[0] & sessions[1]
    assert not sessions[1] & sessions[2]


def test_ids_tell_nothing_of_the_truth(log: pd.DataFrame) -> None:
    """Robots have the same share in every part of the range of ids, of clicks, sessions and users alike."""
    for column in ("click_id", "session", "user"):
        unique = log.dropna(subset=column).drop_duplicates(column)
        part = unique[column].str[0]
        share = unique["robot"].mean()
        deviation = np.sqrt(share * (1 - share) / unique.groupby(part).size())
        assert (unique["robot"].groupby(part).mean().sub(share).abs() < 4.5 * deviation).all()


def test_click_ids_are_in_no_order(log: pd.DataFrame) -> None:
    """Ids do not follow time."""
    numbers = log["click_id"].str[:8].map(lambda digits: int(digits, 16))
    assert abs(numbers.corr(pd.Series(np.arange(len(log))))) < 0.02


def test_headers_get_lost_alike(log: pd.DataFrame) -> None:
    """Missing sessions, addresses and user agents are few, and no rarer with people than with robots."""
    for column in ("session", "ip", "user_agent"):
        missing = log[column].isna().groupby(log["robot"]).mean()
        assert (missing > 0).all()
        assert (missing < 0.01).all()


def test_one_address_in_ten_is_ipv6(log: pd.DataFrame) -> None:
    """About ten percent of clicks come over IPv6."""
    assert 0.06 < log["ip"].str.contains(":").mean() < 0.15


def test_a_plan_can_start_on_any_day() -> None:
    """The dates follow the plan's start."""
    plan = Plan(clicks=1_000, days=2, burn_in=1, start=date(2024, 2, 29))
    dates = [day.day for day in simulate(plan, np.random.default_rng(1))]
    assert dates == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), date(2024, 3, 2)]


def test_the_simulator_is_frozen() -> None:
    """A small plan gives the bytes of this version; who changes them raises VERSION and takes all figures anew."""
    found = hashlib.sha256()
    for day in simulate(Plan(clicks=5_000, days=9, burn_in=2), np.random.default_rng(101)):
        for table in (day.clicks, day.purchases, day.truth):
            # What is computed with powers and logarithms may differ in its last bit from processor to processor.
            for name in sorted(set(table.column_names) - {"time", "cost", "value"}):
                found.update(repr(table[name].to_pylist()).encode())
    assert (VERSION, found.hexdigest()[:16]) == (3, "0404d14e59ac6615")
