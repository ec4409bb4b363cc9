from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.simulate import Plan, build_world
from slidr.simulate.attacks import attack
from slidr.simulate.plan import NEWCOMER_DAY

MONDAY = 30


@given(st.integers(0, 2**32))
def test_campaigns_have_the_family_s_clicks_in_the_mean(seed: int) -> None:
    """Over many cycles the intensity is 1 in the mean, with days off and days above."""
    world = build_world(Plan(clicks=5_000, days=9, burn_in=360), np.random.default_rng(seed))
    found = [attack(world, "burst", day) for day in world.plan.schedule[:360]]
    intensities = np.array([one.intensity for one in found])
    assert intensities.mean() == pytest.approx(1, abs=0.05)
    assert intensities.min() == 0
    assert intensities.max() > 1.3
    assert (intensities == 0).mean() < 0.3


def test_a_steady_family_works_every_day_alike() -> None:
    """Its intensity is 1 on every day, and its age grows."""
    world = build_world(Plan(clicks=5_000), np.random.default_rng(1))
    found = [attack(world, "botnet", day, steady=True) for day in world.plan.schedule]
    assert {one.intensity for one in found} == {1.0}
    assert np.diff([one.age for one in found]).tolist() == [1] * (len(found) - 1)


def test_a_newcomer_begins_its_first_campaign_on_the_day_on_which_it_comes() -> None:
    """Before that day its intensity is 0, and on it its campaign is new."""
    world = build_world(Plan(clicks=5_000, newcomer="burst"), np.random.default_rng(1))
    before, first = (attack(world, "burst", world.plan.schedule[MONDAY + NEWCOMER_DAY + step]) for step in (-1, 0))
    assert (before.intensity, first.age) == (0, 0)
    assert first.intensity > 0
