from __future__ import annotations

import numpy as np
import pandas as pd

from slidr.simulate import HUMAN, World
from slidr.simulate.robots import botnet


def test_machines_are_slow_and_many(log: pd.DataFrame) -> None:
    """A machine makes a few clicks a day, and no machine a large part of the family's."""
    clicks = log[log["family"] == "botnet"]
    daily = clicks.groupby([clicks["user"], clicks["time"].dt.date]).size()
    assert 5 < daily.mean() < 10
    assert daily.max() < 40
    assert clicks["user"].value_counts(normalize=True).max() < 0.02


def test_machines_live_in_peoples_homes(world: World) -> None:
    """Every address is a household's, and stays a machine's from day to day."""
    schedule = world.plan.schedule
    monday, tuesday = (botnet.clicks(world, schedule[index], np.random.default_rng(index)) for index in (30, 31))
    assert np.isin(monday.address, world.addresses.homes).all()
    address = dict(zip(monday.user.tolist(), monday.address.tolist(), strict=True))
    again = [(user, home) for user, home in zip(tuesday.user.tolist(), tuesday.address.tolist(), strict=True)]
    assert all(address.get(user, home) == home for user, home in again)
    assert any(user in address for user, _ in again)


def test_the_pace_is_nearly_human(log: pd.DataFrame) -> None:
    """The gaps overlap with people's: neither the median nor the spread sets them apart by half."""
    gaps = log.groupby("session")["time"].diff().dt.total_seconds()
    robot, human = gaps[log["family"] == "botnet"].dropna(), gaps[log["family"] == HUMAN].dropna()
    assert 0.5 < robot.median() / human.median() < 1.5
    assert 0.5 < np.log(robot).std() / np.log(human).std() < 1.5
