"""What every robot family must hold; a new one is found and checked by itself."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from slidr.errors import SettingsError
from slidr.simulate import HUMAN, World, build_world, people, simulate_day
from slidr.simulate.columns import NOBODY, ClickColumns
from slidr.simulate.plan import NEWCOMER_DAY, Plan
from slidr.simulate.population import PEOPLE_SHARE
from slidr.simulate.rhythm import DEVICES
from slidr.simulate.robots import families, load

MONDAY = 30
PLANS = 4

each_family = pytest.mark.parametrize("name", families())


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    """Return the worlds of a few seeds."""
    return [build_world(Plan(clicks=180_000), np.random.default_rng(seed)) for seed in range(PLANS)]


def _clicks(world: World, name: str, index: int = MONDAY, seed: int = 1) -> ClickColumns:
    return load(name).clicks(world, world.plan.schedule[index], np.random.default_rng(seed))


def _same(first: ClickColumns, second: ClickColumns) -> bool:
    return all(np.array_equal(getattr(first, field.name), getattr(second, field.name)) for field in fields(first))


@each_family
def test_columns_are_complete(world: World, name: str) -> None:
    """All columns have one length, the declared types, and codes within their tables."""
    clicks = _clicks(world, name)
    assert len(clicks) > 0
    for field in fields(ClickColumns):
        column = getattr(clicks, field.name)
        assert column.shape == (len(clicks),), field.name
        assert column.dtype.name in str(field.type), field.name
    assert clicks.session.min() >= 0
    assert clicks.user.min() >= NOBODY
    assert 0 <= clicks.agent.min() <= clicks.agent.max() < len(world.agents.text)
    assert 0 <= clicks.campaign.min() <= clicks.campaign.max() < len(world.market.campaign)
    assert 0 <= clicks.device.min() <= clicks.device.max() < len(DEVICES)
    assert 0 <= clicks.region.min() <= clicks.region.max() < 4


@each_family
def test_no_person_stands_behind_a_robot(world: World, name: str) -> None:
    """What a robot buys, it buys itself: nobody stands behind its clicks."""
    assert (_clicks(world, name).person == NOBODY).all()


@each_family
def test_a_day_is_reproducible(world: World, name: str) -> None:
    """The same day and seed draw the same clicks; another seed draws others."""
    first, again, other = (_clicks(world, name, seed=seed) for seed in (1, 1, 2))
    assert _same(first, again)
    assert not np.array_equal(first.time, other.time)


@each_family
def test_a_day_depends_on_no_other_day(world: World, name: str) -> None:
    """A day that is drawn after others is the day that is drawn alone."""
    alone = _clicks(world, name)
    for index in (MONDAY + 3, MONDAY - 1):
        _clicks(world, name, index)
    assert _same(alone, _clicks(world, name))


@each_family
def test_a_thin_day_is_thin(world: World, name: str) -> None:
    """A burn-in day has a small part of a counted day's clicks, and a settle day has none."""
    thin = np.mean([len(_clicks(world, name, index, seed=index)) for index in range(MONDAY)])
    assert 0 < thin < 0.1 * len(_clicks(world, name))
    assert len(_clicks(world, name, index=MONDAY + 9)) == 0


@each_family
def test_share_is_kept(worlds: list[World], name: str) -> None:
    """Over a few plans a family makes the share of clicks that it states, although its campaigns come and go."""
    made = [len(_clicks(world, name, index, seed=index)) for world in worlds for index in range(MONDAY, MONDAY + 9)]
    assert sum(made) / (PLANS * 180_000) == pytest.approx(load(name).SHARE, rel=0.2)


@each_family
def test_a_newcomer_comes_after_the_training_days(name: str) -> None:
    """A plan's newcomer makes no click before the eighth counted day, and clicks from then on."""
    world = build_world(Plan(clicks=180_000, newcomer=name), np.random.default_rng(1))
    sizes = [len(_clicks(world, name, index)) for index in range(MONDAY + 9)]
    assert max(sizes[: MONDAY + NEWCOMER_DAY]) == 0
    assert min(sizes[MONDAY + NEWCOMER_DAY :]) > 0


@each_family
def test_a_family_that_is_away_changes_nothing_of_what_others_draw(name: str) -> None:
    """People and every other family click alike whether a family is there or not."""
    there, away = (build_world(Plan(clicks=9_000, newcomer=absent), np.random.default_rng(1)) for absent in ("", name))
    assert len(_clicks(away, name)) == 0
    for other in (*families(), HUMAN):
        if other != name:
            draw = people.clicks if other == HUMAN else load(other).clicks
            both = [draw(one, one.plan.schedule[MONDAY], one.generator(other, MONDAY)) for one in (there, away)]
            assert _same(*both), other


def test_a_family_that_is_away_changes_no_person_s_purchases() -> None:
    """With and without a family, the same purchases are made at the same times, but for those of robots."""
    plans = [Plan(clicks=90_000, newcomer=absent) for absent in ("", "botnet")]
    there, away = (
        simulate_day(build_world(plan, np.random.default_rng(1)), MONDAY + 1).purchases.to_pandas() for plan in plans
    )
    assert len(there) > 50
    for column in ("time", "user", "value"):
        assert there[column].equals(away[column]), column


@each_family
def test_a_family_says_what_would_give_it_away(name: str) -> None:
    """The signal is said in words, for who reads which families were missed."""
    assert len(load(name).SIGNAL.split()) >= 5


def test_robots_are_rarely_logged_in(log: pd.DataFrame) -> None:
    """A robot is logged in less often than people are, but for those that live on accounts."""
    shares = log.groupby("family")["logged_in"].mean()
    accounts = ["hijacked", "shopper"]
    assert (shares.drop([HUMAN, *accounts]) < shares[HUMAN]).all()
    assert (shares[accounts] == 1).all()


@each_family
def test_user_agents_are_mostly_peoples(log: pd.DataFrame, name: str) -> None:
    """Most clicks of a family carry a user agent that people carry too."""
    people = set(log.loc[log["family"] == HUMAN, "user_agent"].dropna())
    assert log.loc[log["family"] == name, "user_agent"].dropna().isin(people).mean() > 0.8


def test_families_do_not_share_users(log: pd.DataFrame) -> None:
    """A user is of people or of one family, but for accounts that were hijacked from people."""
    known = log.dropna(subset="user")
    assert known[known["family"] != "hijacked"].groupby("user")["family"].nunique().max() == 1
    stolen = known.loc[known["family"] == "hijacked", "user"].unique()
    assert known.loc[known["family"] == HUMAN, "user"].isin(stolen).any()


def test_shares_add_up() -> None:
    """People and robots together make the clicks of the plan, and 20 to 30 percent of them are robots'."""
    robots = sum(load(name).SHARE for name in families())
    assert 0.2 <= robots <= 0.3
    assert robots + PEOPLE_SHARE == pytest.approx(1.0, abs=0.01)


def test_an_unknown_family_is_refused() -> None:
    """The message suggests the nearest family."""
    with pytest.raises(SettingsError, match="did you mean 'botnet'"):
        load("botnets")
