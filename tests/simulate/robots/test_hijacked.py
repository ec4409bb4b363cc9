from __future__ import annotations

import numpy as np
import pandas as pd

from slidr.simulate import HUMAN, World
from slidr.simulate.attacks import attack
from slidr.simulate.robots import hijacked


def test_accounts_are_peoples(world: World) -> None:
    """Every user is a person who has an account, logged in, in the person's region, from an address of the thief."""
    day = next(day for day in world.plan.schedule[30:39] if attack(world, "hijacked", day).intensity)
    clicks = hijacked.clicks(world, day, np.random.default_rng(1))
    assert world.people.account[clicks.user].all()
    assert clicks.logged_in.all()
    assert (clicks.region == world.people.region[clicks.user]).all()
    owners = world.addresses.homes[world.people.home[clicks.user]]
    assert (clicks.address != owners).mean() > 0.95


def test_owners_go_on_clicking_and_buying(log: pd.DataFrame, bought: pd.DataFrame) -> None:
    """Owners of stolen accounts click themselves, and some of them buy."""
    stolen = set(log.loc[log["family"] == "hijacked", "user"].dropna())
    own = log[(log["family"] == HUMAN) & log["user"].isin(stolen)]
    assert own["user"].nunique() > 0.3 * len(stolen)
    assert bought["user"].isin(stolen).any()


def test_a_thief_clicks_more_than_the_owner(log: pd.DataFrame) -> None:
    """A stolen account makes some fourteen clicks of a day."""
    clicks = log[log["family"] == "hijacked"]
    assert 10 < clicks.groupby(["user", clicks["time"].dt.date]).size().mean() < 20
