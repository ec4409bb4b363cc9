from __future__ import annotations

import numpy as np
import pandas as pd

from slidr.simulate import World
from slidr.simulate.attacks import attack
from slidr.simulate.robots import competitor


def test_an_attack_has_one_campaign_as_its_target(world: World) -> None:
    """All days of one attack click the same campaign; the days of a plan have seen two or three."""
    targets: dict[int, set[int]] = {}
    for day in world.plan.schedule[:39]:
        clicks = competitor.clicks(world, day, np.random.default_rng(day.index))
        begun = day.index - attack(world, "competitor", day).age
        targets.setdefault(begun, set()).update(clicks.campaign.tolist())
    assert max(map(len, targets.values())) == 1
    assert len(set.union(*targets.values())) > 1


def test_an_address_clicks_a_little_with_a_fresh_cookie_each_time(log: pd.DataFrame) -> None:
    """No address has a hundred clicks of a day; every click has a user, and no user comes back on another day."""
    clicks = log[log["family"] == "competitor"]
    assert clicks.groupby(["ip", clicks["time"].dt.date]).size().max() < 100
    assert clicks["user"].notna().all()
    assert clicks.groupby("user")["time"].agg(lambda times: times.dt.date.nunique()).max() == 1


def test_it_works_until_the_budget_is_spent(log: pd.DataFrame) -> None:
    """Clicks fall between six and three in the afternoon, UTC, some minutes over."""
    times = log.loc[log["family"] == "competitor", "time"]
    hour = times.dt.hour + times.dt.minute / 60
    assert hour.between(6, 15.5).all()
