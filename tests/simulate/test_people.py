from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from slidr.simulate import World, people


@pytest.fixture(scope="module")
def clicks(log: pd.DataFrame) -> pd.DataFrame:
    """Return people's clicks."""
    return log[~log["robot"]]


def test_devices_and_logins_make_slices(clicks: pd.DataFrame) -> None:
    """Every device has a large share of clicks, logged in and not."""
    shares = clicks.groupby(["device", "logged_in"]).size() / len(clicks)
    assert len(shares) == 8
    assert shares.min() > 0.02
    assert clicks["region"].nunique() == 4
    assert clicks["marketplace"].nunique() == 3


def test_users_are_null_only_when_logged_out(clicks: pd.DataFrame) -> None:
    """Whoever is logged in is known; many of the others are not, and have a session all the same."""
    unknown = clicks["user"].isna()
    assert not (unknown & clicks["logged_in"]).any()
    assert 0.1 < unknown.mean() < 0.3
    assert clicks.loc[unknown, "session"].notna().mean() > 0.98


def test_a_visit_has_one_address_and_device(clicks: pd.DataFrame) -> None:
    """Within a session nothing of the visitor changes, and its gaps spread over orders of magnitude."""
    visits = clicks.groupby("session")
    for column in ("ip", "user_agent", "device", "user", "region"):
        assert visits[column].nunique().max() == 1
    gaps = visits["time"].diff().dropna().dt.total_seconds()
    assert 20 < gaps.median() < 30
    assert gaps.quantile(0.95) > 10 * gaps.quantile(0.25)


def test_people_alone_are_reproducible(world: World) -> None:
    """The same world, day and seed draw the same clicks."""
    day = world.plan.schedule[31]
    first, second = (people.clicks(world, day, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first.time, second.time)
    assert np.array_equal(first.address, second.address)
