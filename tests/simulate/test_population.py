from __future__ import annotations

import numpy as np
import pandas as pd

from slidr.simulate import Plan, World, build_world
from slidr.simulate.columns import NOBODY
from slidr.simulate.population import MEAN_VISIT, draw_visit_sizes


def test_gateways_have_thousands_of_people() -> None:
    """At the default size, every gateway stands for over a thousand people, the largest for ten thousand."""
    people = build_world(Plan(clicks=1_000_000), np.random.default_rng(1)).people
    behind = np.bincount(people.gateway[people.gateway != NOBODY])
    assert behind.min() > 1_000
    assert behind.max() > 10_000


def test_gateways_show_in_the_log(log: pd.DataFrame) -> None:
    """The busiest address of people has hundreds of users on one address even in a small log, a home a handful."""
    users = log[~log["robot"]].groupby("ip")["user"].nunique()
    assert users.max() > 500
    assert users.median() <= 2


def test_households_share_an_address_and_a_region(world: World) -> None:
    """A home has one to five people, two or more in most homes, all of one region."""
    people = world.people
    sizes = np.bincount(people.home)
    assert sizes.min() >= 1
    assert sizes.max() == 5
    assert (sizes > 1).mean() > 0.5
    assert (people.region == world.addresses.home_region[people.home]).all()


def test_activity_is_heavy_tailed(world: World) -> None:
    """The most active percent of people makes many times its share of the visits."""
    visits = np.sort(world.people.visits)[::-1]
    assert visits[: len(visits) // 100].sum() > 0.1 * visits.sum()


def test_visit_sizes_follow_zipf() -> None:
    """Visits have one click mostly, forty at most, and the stated mean."""
    sizes = draw_visit_sizes(50_000, np.random.default_rng(1))
    assert sizes.min() == 1
    assert sizes.max() == 40
    assert abs(sizes.mean() - MEAN_VISIT) < 0.1
    assert np.bincount(sizes).argmax() == 1
