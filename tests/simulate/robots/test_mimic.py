from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from slidr.simulate import HUMAN, World, people
from slidr.simulate.robots import mimic


@pytest.fixture(scope="module")
def both(log: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the clicks of the mimic, and people's on the devices that it has."""
    robots = log[log["family"] == "mimic"]
    return robots, log[(log["family"] == HUMAN) & log["device"].isin(robots["device"].unique())]


def test_the_hours_are_peoples(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """The share of clicks at night and in the evening is people's within some percent."""
    night, evening = ([clicks["time"].dt.hour.isin(hours).mean() for clicks in both] for hours in ((1, 2, 3), (19, 20)))
    assert night[0] == pytest.approx(night[1], abs=0.03)
    assert evening[0] == pytest.approx(evening[1], abs=0.04)


def test_the_gaps_and_visits_are_peoples(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Visits have as many clicks, as far apart, as people's have."""
    sizes = [clicks.groupby("session").size().mean() for clicks in both]
    gaps = [clicks.groupby("session")["time"].diff().dt.total_seconds().median() for clicks in both]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)
    assert gaps[0] == pytest.approx(gaps[1], rel=0.15)


def test_it_stands_in_homes_and_clicks_what_people_click(world: World) -> None:
    """Every address is a household's, and its campaigns are as popular as people's."""
    day = world.plan.schedule[30]
    robot = mimic.clicks(world, day, np.random.default_rng(1))
    human = people.clicks(world, day, np.random.default_rng(1))
    assert np.isin(robot.address, world.addresses.homes).all()
    popular = np.bincount(human.campaign).argsort()[-40:]
    assert np.isin(robot.campaign, popular).mean() == pytest.approx(np.isin(human.campaign, popular).mean(), abs=0.15)
