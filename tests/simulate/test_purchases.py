from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from slidr.simulate import SimulatedDay
from slidr.simulate.purchases import CONVERSION, MARKETPLACE_CONVERSION
from slidr.simulate.rhythm import DEVICES

ATTRIBUTED = 0.6


def test_conversion_differs_by_slice(log: pd.DataFrame, bought: pd.DataFrame) -> None:
    """People's clicks convert at the stated rate of their device and login, up to what is attributed by user only."""
    people = log[~log["robot"]]
    converted = people["click_id"].isin(bought["click_id"])
    shares = converted.groupby([people["device"], people["logged_in"]]).mean()
    for code, device in enumerate(DEVICES):
        for logged_in in (False, True):
            expected = CONVERSION[code, int(logged_in)]
            least = ATTRIBUTED * 0.8 * MARKETPLACE_CONVERSION.min() * expected
            assert least < shares[device, logged_in] < 1.2 * expected
    assert shares.max() > 5 * shares.min()
    assert CONVERSION.max() == pytest.approx(10 * CONVERSION.min())


def test_only_shoppers_buy_among_robots(log: pd.DataFrame, bought: pd.DataFrame) -> None:
    """No purchase is attributed to a robot's click, but for the family that buys a little."""
    robots = log[log["robot"]]
    buying = robots["click_id"].isin(bought["click_id"]).groupby(robots["family"]).mean()
    assert (buying.drop("shopper") == 0).all()
    assert 0 < buying["shopper"] < 0.02


def test_heavy_clickers_buy_less_per_click(log: pd.DataFrame, bought: pd.DataFrame) -> None:
    """People with many clicks have fewer purchases per click than people with few."""
    people = log[~log["robot"] & log["user"].notna()]
    users = people.groupby("user").size()
    converted = people["click_id"].isin(bought["click_id"])
    heavy = people["user"].map(users) > 30
    assert converted[heavy].mean() < 0.8 * converted[~heavy].mean()


def test_purchases_follow_their_click(log: pd.DataFrame, bought: pd.DataFrame) -> None:
    """A purchase comes minutes to hours after its click, within a day, by the same user where both are known."""
    both = bought.merge(log, on="click_id", suffixes=("", "_click"))
    delay = (both["time"] - both["time_click"]).dt.total_seconds()
    assert delay.between(60, 86_400).all()
    assert 10 * 60 < delay.median() < 40 * 60
    known = both["user"].notna() & both["user_click"].notna()
    assert (both.loc[known, "user"] == both.loc[known, "user_click"]).all()


def test_purchases_are_attributed_by_click_or_by_user(bought: pd.DataFrame) -> None:
    """Some purchases name their click, others only their user; none names neither."""
    assert not (bought["click_id"].isna() & bought["user"].isna()).any()
    assert bought["click_id"].notna().any()
    assert bought["click_id"].isna().any()
    assert not bought["click_id"].dropna().duplicated().any()


def test_purchases_are_full_on_burn_in_days(days: list[SimulatedDay]) -> None:
    """A burn-in day has about as many purchases as a counted day, and a settle day those left over."""
    counts = np.array([day.purchases.num_rows for day in days])
    assert counts[:30].mean() == pytest.approx(counts[30:39].mean(), rel=0.1)
    assert 0 < counts[39] < 0.6 * counts[38]


def test_accounts_have_purchase_histories(bought: pd.DataFrame) -> None:
    """Some accounts bought often and some once, so that recency, frequency and value differ."""
    counts = bought.groupby("user").size()
    assert (counts >= 5).sum() > 100
    assert (counts == 1).mean() > 0.3
    assert (bought["value"] > 0).all()
    assert (bought["currency"] == "EUR").all()
