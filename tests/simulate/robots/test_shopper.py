from __future__ import annotations

import numpy as np
import pandas as pd

from slidr.simulate import Plan, World, build_world
from slidr.simulate.purchases import CONVERSION
from slidr.simulate.robots import shopper


def test_it_buys_much_less_than_people_who_are_logged_in() -> None:
    """A click of it leads to a purchase less often than any logged-in click of people does."""
    assert 0 < shopper.CONVERSION < 0.5 * CONVERSION[:, 1].min()


def test_its_purchases_are_its_accounts_own(log: pd.DataFrame, bought: pd.DataFrame) -> None:
    """A purchase that names its click is made by the account that clicked."""
    clicks = log[log["family"] == "shopper"].set_index("click_id")["user"]
    own = bought[bought["click_id"].isin(clicks.index)]
    assert len(own) > 0
    assert (own["user"] == own["click_id"].map(clicks)).all()


def test_accounts_are_kept_and_share_addresses() -> None:
    """The accounts of two days are largely the same, and several of them stand behind one address."""
    world: World = build_world(Plan(clicks=900_000), np.random.default_rng(1))
    monday, tuesday = (
        shopper.clicks(world, world.plan.schedule[index], np.random.default_rng(1)) for index in (30, 31)
    )
    accounts = [set(day.user.tolist()) for day in (monday, tuesday)]
    assert len(accounts[0] & accounts[1]) > 0.9 * len(accounts[0])
    assert len(np.unique(monday.address)) < 0.5 * len(accounts[0])
    assert monday.logged_in.all()
