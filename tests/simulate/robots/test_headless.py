from __future__ import annotations

import numpy as np
import pandas as pd

from slidr.simulate import World
from slidr.simulate.attacks import attack
from slidr.simulate.robots import headless


def test_sessions_are_long_and_around_the_clock(log: pd.DataFrame) -> None:
    """A desktop browser makes some eighteen clicks of a session, at any hour of the day."""
    clicks = log[log["family"] == "headless"]
    assert set(clicks["device"]) == {"desktop"}
    assert 14 < clicks.groupby("session").size().median() < 22
    hours = clicks["time"].dt.hour.value_counts()
    assert len(hours) == 24
    assert hours.max() < 0.1 * len(clicks)


def test_it_slows_down_over_a_campaign(world: World) -> None:
    """The median gap grows from four seconds on the first day to twelve from the fifth on."""
    medians: dict[int, float] = {}
    for day in world.plan.schedule[30:39]:
        clicks = headless.clicks(world, day, np.random.default_rng(1))
        if len(clicks):
            within = np.diff(clicks.session) == 0
            medians[attack(world, "headless", day).age] = float(np.median(np.diff(clicks.time)[within])) / 1e6
    for age, median in medians.items():
        assert abs(median / min(12, 4 + 2 * age) - 1) < 0.1
    assert len(set(medians)) > 4


def test_addresses_lie_in_data_centres(world: World) -> None:
    """Every address of the older kind is in a hosting network, and none is a household's."""
    day = next(day for day in world.plan.schedule[30:39] if attack(world, "headless", day).intensity)
    address = headless.clicks(world, day, np.random.default_rng(1)).address
    older = address[address < 1 << 32]
    assert np.isin(older & ~np.uint64(255), world.addresses.hosting).all()
    assert not np.isin(address, world.addresses.homes).any()
